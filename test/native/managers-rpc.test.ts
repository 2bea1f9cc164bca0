/** Joining and the control API between managers, over loopback sockets. Needs no root. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SystemClock } from '../../common/base/clock.ts';
import { Scope } from '../../common/base/lifecycle.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import { ExternalCaClient } from '../../common/pki/external-ca.ts';
import { type Identity, IdentityHolder } from '../../common/pki/identity.ts';
import { createJoinToken } from '../../common/pki/join-token.ts';
import { issueNodeCertificate } from '../../common/rpc/ca-methods.ts';
import { controlMethods } from '../../common/rpc/control-methods.ts';
import { issuerAt, joinCluster, renewIdentity } from '../../common/rpc/join-cluster.ts';
import { LeaderCaller } from '../../common/rpc/leader.ts';
import { RpcClientPool } from '../../common/rpc/pool.ts';
import { RpcServer } from '../../common/rpc/server.ts';
import { Authority } from '../../manager/ca/authority.ts';
import { createCluster, type NewCluster } from '../../manager/ca/bootstrap.ts';
import { ControlApi } from '../../manager/controlapi/control-api.ts';
import { PlacementExplainer } from '../../manager/scheduler/explain-placement.ts';
import { MemoryStore } from '../../manager/store/store.ts';
import { aContainerSpec, aSecretSpec, aServiceSpec, aTaskSpec } from '../support/builders.ts';
import { TestAuthority } from '../support/identities.ts';

const clock = new SystemClock();
const random = new SystemRandom();
let scope = new Scope();

afterEach(async () => {
  await scope.close();
  scope = new Scope();
});

/** Managers that share one log: what one proposes, all apply. Manager 0 leads. */
class Managers {
  readonly stores: MemoryStore[] = [];
  readonly servers: RpcServer[] = [];
  readonly apis: ControlApi[] = [];
  leader: number | null = 0;
  #index = 0;

  async add(identity: Identity): Promise<number> {
    const at = this.stores.length;
    const store = new MemoryStore({ proposer: null, clock, random });
    store.setProposer({ propose: async (payload) => this.#commit(payload) });
    for (const [i, payload] of this.#log.entries()) store.apply(i + 1, payload);
    const credentials = new IdentityHolder(identity);
    const server = new RpcServer({
      credentials,
      clock,
      logger: silentLogger,
      onFailure: (err) => {
        throw err;
      },
      isBlocked: (nodeId) =>
        store.view((view) => nodeId in (view.list('cluster')[0]?.blockedNodes ?? {})),
    });
    scope.defer(() => server.stop());
    await server.listen('127.0.0.1', 0);
    const pool = new RpcClientPool({ credentials, clock });
    scope.defer(() => pool.close());
    const { nodeId, role, clusterId } = identity;
    const leader = new LeaderCaller({
      pool,
      clock,
      self: () => ({ nodeId, role, clusterId, address: '127.0.0.1' }),
      locator: {
        isLeader: () => this.leader === at,
        leaderAddress: () => (this.leader === null ? null : this.servers[this.leader]!.address),
        onChange: () => () => {},
      },
    });
    const external = new ExternalCaClient({ credentials, clock });
    const membership = {
      members: () => [{ nodeId, address: server.address, leader: true, reachable: true }],
    };
    const api = new ControlApi({
      store,
      leader,
      membership,
      readBarrier: async () => {},
      explainer: new PlacementExplainer({ store, clock }),
      external,
      clock,
      random,
    });
    api.register(server);
    new Authority({ store, leader, external, clock, random, log: silentLogger }).register(server);
    this.stores.push(store);
    this.servers.push(server);
    this.apis.push(api);
    return at;
  }

  readonly #log: Uint8Array[] = [];

  #commit(payload: Uint8Array): number {
    this.#log.push(payload);
    this.#index++;
    for (const store of this.stores) store.apply(this.#index, payload);
    return this.#index;
  }
}

let managers: Managers;
let created: NewCluster;
let tokens: { readonly worker: string; readonly manager: string };

beforeEach(async () => {
  managers = new Managers();
  created = await createCluster({ random, nowMs: clock.wallMs() });
  tokens = created.cluster.rootCa.joinTokens;
  await managers.add(created.identity);
  await managers.stores[0]!.update((tx) => {
    tx.create('cluster', created.cluster);
    tx.create('node', created.node);
  });
});

const join = (token: string, at = 0) =>
  joinCluster({ remoteAddress: managers.servers[at]!.address, token, clock });

describe('joining', () => {
  test('by the leader or by any other manager gives the role of the token', async () => {
    const second = await join(tokens.manager);
    expect(second.role).toBe('manager');
    await managers.add(second);
    const worker = await join(tokens.worker, 1);
    expect(worker).toMatchObject({ role: 'worker', clusterId: created.cluster.id });
    const node = managers.stores[0]!.view((view) => view.require('node', worker.nodeId));
    expect(node.status.address).toBe('127.0.0.1');
  });

  test('is refused for another secret, another root, and what is no token', async () => {
    await expect(join(createJoinToken(created.cluster.rootCa.certPem, random))).rejects.toThrow(
      /^a valid join token is necessary to join this cluster$/,
    );
    const stranger = await TestAuthority.create(clock.wallMs());
    const foreign = createJoinToken(stranger.authority.certPem, random);
    await expect(join(foreign)).rejects.toThrow(
      new RegExp(
        `remote CA does not match fingerprint: the token is for ${foreign.split('-')[2]}, the manager has ${created.cluster.rootCa.certDigest}`,
      ),
    );
    await expect(join('SWMTKN-1-abc')).rejects.toThrow(/^invalid join token$/);
    expect(await managers.apis[0]!.listNodes()).toHaveLength(1);
  });

  test('renews with the certificate alone, until the node is removed', async () => {
    const identity = await join(tokens.worker);
    const pool = new RpcClientPool({ credentials: new IdentityHolder(identity), clock });
    scope.defer(() => pool.close());
    const client = pool.client(managers.servers[0]!.address);
    const renewed = await renewIdentity({ issue: issuerAt(client), identity, clock });
    expect(renewed).toMatchObject({ nodeId: identity.nodeId, role: 'worker' });
    expect(renewed.certPem).not.toBe(identity.certPem);
    await managers.apis[0]!.removeNode(identity.nodeId);
    await expect(renewIdentity({ issue: issuerAt(client), identity, clock })).rejects.toMatchObject(
      {
        code: 'permission-denied',
        message: `node ${identity.nodeId} was removed from swarm`,
      },
    );
  });

  test('fails plainly where no manager is', async () => {
    const joining = joinCluster({ remoteAddress: '127.0.0.1:1', token: tokens.worker, clock });
    await expect(joining).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('a write on a manager that does not lead', () => {
  beforeEach(async () => {
    await managers.add(await join(tokens.manager));
  });

  test('is done by the leader and seen here', async () => {
    const [, api] = managers.apis;
    const container = aContainerSpec({ registryAuth: 'hush' });
    const spec = aServiceSpec({ name: 'web', task: aTaskSpec({ container }) });
    const service = await api!.createService(spec);
    expect(service.spec.task.container.registryAuth).toBe(null);
    expect(await api!.getService('web')).toEqual(service);
    const updated = await api!.updateService('web', service.meta.version, {
      ...service.spec,
      labels: { a: 'b' },
    });
    expect(updated).toMatchObject({
      spec: { labels: { a: 'b' } },
      specVersion: service.meta.version,
    });
    expect(
      managers.stores[1]!.view((view) => view.require('service', service.id)).spec.task.container
        .registryAuth,
    ).toBe('hush');
    const secret = await api!.createSecret(aSecretSpec({ name: 'key' }));
    expect(secret.spec.data).toHaveLength(0);
    expect(await api!.removeSecret('key')).toBe(secret.id);
    const { meta, spec: settings } = await api!.getCluster();
    const rotated = await api!.updateCluster(meta.version, settings, { worker: true });
    expect(rotated.rootCa.joinTokens.worker).not.toBe(tokens.worker);
    expect(rotated.rootCa.keyPem).toBe('');
    expect(await api!.listManagers()).toMatchObject([{ nodeId: created.node.id }]);
  });

  test('fails with the words and code of the leader', async () => {
    const [, api] = managers.apis;
    await expect(api!.createService(aServiceSpec({ name: 'a.b' }))).rejects.toMatchObject({
      code: 'invalid-argument',
      message: expect.stringContaining('DNS name component'),
    });
    const { id, spec } = await api!.createService(aServiceSpec());
    await expect(api!.updateService(id, 0, spec)).rejects.toMatchObject({
      code: 'version-conflict',
      message: 'update out of sequence',
    });
  });

  test('is not passed on twice, and not for workers', async () => {
    const worker = await join(tokens.worker);
    const pool = new RpcClientPool({ credentials: new IdentityHolder(worker), clock });
    scope.defer(() => pool.close());
    const client = pool.client(managers.servers[0]!.address);
    const request = { spec: aServiceSpec() };
    await expect(client.unary(controlMethods.createService, request)).rejects.toMatchObject({
      code: 'permission-denied',
    });
    const managerPool = new RpcClientPool({
      credentials: new IdentityHolder(created.identity),
      clock,
    });
    scope.defer(() => managerPool.close());
    const follower = managerPool.client(managers.servers[1]!.address);
    const { nodeId, role, clusterId } = worker;
    const forwardedFor = { nodeId, role, clusterId, address: '' };
    const csr = { csrPem: '', token: '', availability: 'active' as const };
    await expect(follower.unary(issueNodeCertificate, csr, { forwardedFor })).rejects.toMatchObject(
      {
        code: 'not-leader',
        details: { leaderAddress: managers.servers[0]!.address },
      },
    );
  });

  test('waits for the next leader', async () => {
    managers.leader = null;
    const creating = managers.apis[1]!.createService(aServiceSpec({ name: 'late' }));
    await clock.sleep(300);
    managers.leader = 1;
    await creating;
    expect((await managers.apis[0]!.listServices()).map(({ spec }) => spec.name)).toEqual(['late']);
  });

  test('goes to the new leader when the old one is dead', async () => {
    managers.leader = 0;
    await managers.servers[0]!.stop();
    const creating = managers.apis[1]!.createService(aServiceSpec({ name: 'late' }));
    await clock.sleep(300);
    managers.leader = 1;
    await creating;
  });
});
