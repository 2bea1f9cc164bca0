/** Who has which address, subnet, VXLAN id and port: each is given once, and stays while it is asked for. */
import { isDeepStrictEqual } from 'node:util';
import type { Network } from '../../../../common/model/network.ts';
import type { Node } from '../../../../common/model/node.ts';
import type { Service } from '../../../../common/model/service.ts';
import type { Task } from '../../../../common/model/task.ts';
import { isBefore, isTerminal } from '../../../../common/model/task-state.ts';
import type { Commit, StoreChange } from '../../../../manager/store/types.ts';
import { expect } from '../../checker.ts';
import type { ClusterChecker } from '../checker.ts';
import { portKey } from '../placement-oracle.ts';

export class GivenOnce implements ClusterChecker {
  readonly number = 5;
  readonly name = 'no address or port twice';
  /** By what is given: to whom. */
  readonly #holders = new Map<string, string>();

  committed({ changes }: Commit): void {
    for (const change of changes) {
      const before = change.action === 'update' ? change.previous : change.object;
      if (change.action !== 'create') this.#release(before.id, claims(change, before));
    }
    for (const change of changes) {
      if (change.kind === 'service' && change.action === 'update') {
        requireKept(change.previous, change.object);
      }
      if (change.action !== 'remove') this.#take(change.object.id, claims(change, change.object));
    }
  }

  #release(holder: string, all: readonly string[]): void {
    for (const claim of all) if (this.#holders.get(claim) === holder) this.#holders.delete(claim);
  }

  #take(holder: string, all: readonly string[]): void {
    for (const claim of all) {
      const other = this.#holders.get(claim) ?? holder;
      expect(other === holder, () => `${claim} is given to ${holder}, and ${other} has it`);
      this.#holders.set(claim, holder);
    }
  }
}

/** A virtual address as long as the service is in its network, ports as long as the same are asked for. */
function requireKept({ endpoint: before }: Service, { id, endpoint: now }: Service): void {
  if (!before || !now) return;
  for (const { networkId, address } of now.virtualIps) {
    const old = before.virtualIps.find((one) => one.networkId === networkId);
    expect((old?.address ?? address) === address, () => {
      return `service ${id} had ${old!.address} in ${networkId}, and has ${address} now`;
    });
  }
  if (!isDeepStrictEqual(before.spec, now.spec)) return;
  expect(isDeepStrictEqual(before.ports, now.ports), () => {
    return `service ${id} has other ports, and asked for the same`;
  });
}

function claims({ kind }: StoreChange, object: StoreChange['object']): readonly string[] {
  switch (kind) {
    case 'network':
      return claimsOfNetwork(object as Network);
    case 'service':
      return claimsOfService(object as Service);
    case 'node':
      return placesOf(object as Node).map((one) => addressClaim(one.networkId, one.address));
    case 'task':
      return claimsOfTask(object as Task);
    default:
      return [];
  }
}

function claimsOfNetwork({ id, ipam, vxlanId }: Network): string[] {
  const subnets = ipam.flatMap(({ subnet, gateway }) => [
    `subnet ${subnet}`,
    addressClaim(id, gateway),
  ]);
  return vxlanId === null ? subnets : [...subnets, `VXLAN id ${vxlanId}`];
}

function claimsOfService({ endpoint }: Service): string[] {
  if (endpoint === null) return [];
  return [
    ...endpoint.virtualIps.map(({ networkId, address }) => addressClaim(networkId, address)),
    ...endpoint.ports
      .filter(({ publishMode }) => publishMode === 'ingress')
      .map((port) => `port ${portKey(port)}`),
  ];
}

/** One that was told to stop before it had a node never gets one. */
function claimsOfTask({ status, desiredState, networks }: Task): string[] {
  if (isTerminal(status.state)) return [];
  const stops = desiredState === 'shutdown' || desiredState === 'remove';
  if (stops && isBefore(status.state, 'assigned')) return [];
  return networks.flatMap(({ networkId, addresses }) =>
    addresses.map((one) => addressClaim(networkId, one)),
  );
}

function addressClaim(networkId: string, address: string): string {
  return `${address.split('/')[0]} in ${networkId}`;
}

/** Its own, and those of its containers outside of services. */
function placesOf({ attachments, containerAttachments }: Node): Node['attachments'] {
  return [...attachments, ...containerAttachments.filter(({ address }) => address !== '')];
}
