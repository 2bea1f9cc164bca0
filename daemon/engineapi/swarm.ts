/** `/swarm`: making, joining, leaving and settings of a cluster. */
import { DEFAULT_CLUSTER_SPEC } from '../../common/model/cluster.ts';
import type { Availability } from '../../common/model/node.ts';
import { clusterSpecFromJson, signingPairFromJson, swarmToJson } from './json/cluster.ts';
import { JsonReader } from './json/reader.ts';
import { controlOf, type RouteParts } from './parts.ts';
import type { Routes } from './server.ts';

export function addSwarmRoutes(routes: Routes, parts: RouteParts): void {
  const { swarm } = parts;

  routes.add('POST', '/swarm/init', async (context) => {
    const json = new JsonReader(await context.json());
    const ca = json.object('Spec').object('CAConfig');
    for (const name of ['SigningCACert', 'SigningCAKey', 'ForceRotate']) {
      ca.refuse(
        name,
        'a new cluster makes its own root, or has that of its external CAs; change it afterwards (swarm ca --rotate)',
      );
    }
    const asked = json.has('Spec')
      ? clusterSpecFromJson(json.object('Spec'))
      : DEFAULT_CLUSTER_SPEC;
    const autoLockManagers = asked.autoLockManagers || json.boolean('AutoLockManagers');
    const spec = { ...asked, autoLockManagers };
    const pool = json.strings('DefaultAddrPool');
    const subnetSize = json.integer('SubnetSize');
    const dataPathPort = json.integer('DataPathPort');
    const nodeId = await swarm.init({
      listenAddress: json.string('ListenAddr'),
      advertiseAddress: json.string('AdvertiseAddr'),
      dataPathAddress: json.string('DataPathAddr'),
      forceNewCluster: json.boolean('ForceNewCluster'),
      cluster: {
        spec,
        availability: availabilityOf(json),
        ...(pool.length > 0 && { defaultAddressPool: pool }),
        ...(subnetSize !== 0 && { subnetSize }),
        ...(dataPathPort !== 0 && { dataPathPort }),
      },
    });
    context.send(200, nodeId);
  });

  routes.add('POST', '/swarm/join', async (context) => {
    const json = new JsonReader(await context.json());
    await swarm.join({
      listenAddress: json.string('ListenAddr'),
      advertiseAddress: json.string('AdvertiseAddr'),
      dataPathAddress: json.string('DataPathAddr'),
      remoteAddresses: json.strings('RemoteAddrs'),
      token: json.string('JoinToken'),
      availability: availabilityOf(json),
    });
    context.empty(200);
  });

  routes.add('POST', '/swarm/leave', async (context) => {
    await swarm.leave(context.flag('force'));
    context.empty(200);
  });

  routes.add('GET', '/swarm', async (context) => {
    context.send(200, swarmToJson(await controlOf(parts).getCluster(context.signal)));
  });

  routes.add('POST', '/swarm/update', async (context) => {
    const json = new JsonReader(await context.json());
    const spec = clusterSpecFromJson(json);
    await controlOf(parts).updateCluster(
      context.integer('version'),
      spec,
      {
        worker: context.flag('rotateWorkerToken'),
        manager: context.flag('rotateManagerToken'),
        unlockKey: context.flag('rotateManagerUnlockKey'),
      },
      context.signal,
      signingPairFromJson(json),
    );
    context.empty(200);
  });

  routes.add('GET', '/swarm/unlockkey', async (context) => {
    context.send(200, { UnlockKey: await controlOf(parts).getUnlockKey(context.signal) });
  });

  routes.add('POST', '/swarm/unlock', async (context) => {
    const json = new JsonReader(await context.json());
    await swarm.unlock(json.string('UnlockKey'));
    context.empty(200);
  });
}

function availabilityOf(json: JsonReader): Availability {
  return json.oneOf('Availability', ['active', 'pause', 'drain'], 'active');
}
