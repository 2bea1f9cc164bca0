/** `/swarm`: making, joining, leaving and settings of a cluster. */
import { SkepError } from '../../common/base/errors.ts';
import { DEFAULT_CLUSTER_SPEC } from '../../common/model/cluster.ts';
import type { Availability } from '../../common/model/node.ts';
import type { RequestContext } from './http-context.ts';
import { clusterSpecFromJson, swarmToJson } from './json/cluster.ts';
import { JsonReader } from './json/reader.ts';
import { controlOf, type RouteParts } from './parts.ts';
import type { Routes } from './server.ts';

export function addSwarmRoutes(routes: Routes, parts: RouteParts): void {
  const { swarm } = parts;

  routes.add('POST', '/swarm/init', async (context) => {
    const json = new JsonReader(await context.json());
    json.refuse('DataPathAddr', 'a data path address of its own is not done yet');
    json.refuse('AutoLockManagers', 'locking managers is not done yet');
    const spec = json.has('Spec') ? clusterSpecFromJson(json.object('Spec')) : DEFAULT_CLUSTER_SPEC;
    if (spec.autoLockManagers) {
      throw new SkepError('unimplemented', 'AutoLockManagers: locking managers is not done yet');
    }
    const pool = json.strings('DefaultAddrPool');
    const subnetSize = json.integer('SubnetSize');
    const dataPathPort = json.integer('DataPathPort');
    const nodeId = await swarm.init({
      listenAddress: json.string('ListenAddr'),
      advertiseAddress: json.string('AdvertiseAddr'),
      forceNewCluster: json.boolean('ForceNewCluster'),
      cluster: {
        spec,
        availability: availabilityOf(json),
        ...(pool.length > 0 && { defaultAddressPool: pool }),
        ...(subnetSize > 0 && { subnetSize }),
        ...(dataPathPort > 0 && { dataPathPort }),
      },
    });
    context.send(200, nodeId);
  });

  routes.add('POST', '/swarm/join', async (context) => {
    const json = new JsonReader(await context.json());
    json.refuse('DataPathAddr', 'a data path address of its own is not done yet');
    await swarm.join({
      listenAddress: json.string('ListenAddr'),
      advertiseAddress: json.string('AdvertiseAddr'),
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
    if (context.flag('rotateManagerUnlockKey')) throw noLocking();
    const spec = clusterSpecFromJson(new JsonReader(await context.json()));
    if (spec.autoLockManagers) throw noLocking();
    await controlOf(parts).updateCluster(
      context.integer('version'),
      spec,
      {
        worker: context.flag('rotateWorkerToken'),
        manager: context.flag('rotateManagerToken'),
      },
      context.signal,
    );
    context.empty(200);
  });

  routes.add('GET', '/swarm/unlockkey', (context) => {
    controlOf(parts);
    context.send(200, { UnlockKey: '' });
  });

  routes.add('POST', '/swarm/unlock', refuseUnlock);
}

function refuseUnlock(_context: RequestContext): never {
  throw new SkepError('conflict', 'swarm is not locked');
}

function noLocking(): SkepError {
  return new SkepError('unimplemented', 'locking managers is not supported yet');
}

function availabilityOf(json: JsonReader): Availability {
  return json.oneOf('Availability', ['active', 'pause', 'drain'], 'active');
}
