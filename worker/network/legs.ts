/**
 * Veth pairs: making one between two namespaces, finding links again. Knows nothing of networks or
 * tasks.
 */
import { closeSync, openSync } from 'node:fs';
import { NativeError } from '../../native/ffi/library.ts';
import { MessageBatch } from '../../native/ffi/net/message.ts';
import {
  addVeth,
  type BridgePortOptions,
  deleteLink,
  dumpLinks,
  getLink,
  type LinkInfo,
  type LinkOptions,
  readLinks,
  setBridgePort,
  setLink,
} from '../../native/ffi/net/rtnl-link.ts';
import { addPortMac } from '../../native/ffi/net/rtnl-neighbour.ts';
import { NetlinkError, type NetlinkSocket } from '../../native/ffi/net/sockets.ts';

/** One end of a pair; `netnsFd` absent = in the namespace of the socket that makes it. */
export type VethEnd = LinkOptions & { readonly name: string };

/** True when there is no namespace at a path: no file, or a plain one that a restart of the machine left. */
function isNoNamespace(err: unknown): boolean {
  return err instanceof NativeError && ['ENOENT', 'EINVAL'].includes(err.errno);
}

/** Null when there is no namespace; rejects with any other failure of `open`. */
export async function ifNamespace<T>(open: Promise<T>): Promise<T | null> {
  try {
    return await open;
  } catch (err) {
    if (isNoNamespace(err)) return null;
    throw err;
  }
}

/** Runs `work` with a descriptor of the namespace at `path`. */
export async function withNetns<T>(path: string, work: (fd: number) => Promise<T>): Promise<T> {
  const fd = openSync(path, 'r');
  try {
    return await work(fd);
  } finally {
    closeSync(fd);
  }
}

export async function listLinks(socket: NetlinkSocket): Promise<LinkInfo[]> {
  return readLinks(await socket.dump(dumpLinks()));
}

/** A link by name, null when there is none. */
export async function findLink(socket: NetlinkSocket, name: string): Promise<LinkInfo | null> {
  const batch = new MessageBatch(128);
  getLink(batch, name);
  return readLinks(await socket.transact(batch))[0] ?? null;
}

/** Deletes a link by name; success when there is none. */
export async function removeLink(socket: NetlinkSocket, name: string): Promise<void> {
  const batch = new MessageBatch(128);
  deleteLink(batch, name);
  await socket.transact(batch);
}

/**
 * Makes the pair and sets both ends up. A remnant under the same names (of an attempt that was cut
 * short) is removed first by `cleanUp`.
 * @param peerSocket rtnetlink socket of the peer's namespace
 */
export async function makeVeth(
  socket: NetlinkSocket,
  end: VethEnd,
  peer: VethEnd,
  peerSocket: NetlinkSocket,
  cleanUp: () => Promise<void>,
): Promise<void> {
  const attempt = async (): Promise<void> => {
    const batch = new MessageBatch(512);
    addVeth(batch, end, peer);
    await socket.transact(batch);
  };
  try {
    await attempt();
  } catch (err) {
    if (!(err instanceof NetlinkError) || err.errno !== 'EEXIST') throw err;
    await cleanUp();
    await attempt();
  }
  // Not part of the creation: the kernel sets the peer up before the pair is joined (ENOTCONN).
  const batch = new MessageBatch(128);
  setLink(batch, { byName: peer.name }, { up: true });
  await peerSocket.transact(batch);
}

/** A bridge port that carries exactly one known MAC: nothing is learnt from what it sends. */
export async function securePort(
  socket: NetlinkSocket,
  name: string,
  mac: Uint8Array,
  options: BridgePortOptions = {},
): Promise<void> {
  const link = await findLink(socket, name);
  if (!link) return; // its namespace ended in between: nothing is left to secure
  const batch = new MessageBatch(512);
  setBridgePort(batch, link.index, { learning: false, unicastFlood: false, ...options });
  addPortMac(batch, link.index, mac);
  await socket.transact(batch);
}

/** Addresses are ours to give: none is made of what routers say, none is asked around for. */
export function ipv6Settings(link: string): Readonly<Record<string, string>> {
  const conf = `ipv6/conf/${link}`;
  return {
    [`${conf}/accept_dad`]: '0',
    [`${conf}/accept_ra`]: '0',
    // The link-local address that the guard of the bridge's port knows.
    [`${conf}/addr_gen_mode`]: '0',
    [`${conf}/disable_ipv6`]: '0',
  };
}
