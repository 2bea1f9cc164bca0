/** Where this node listens and is reached: at first, and when it starts again told otherwise. Pure. */
import { chooseAdvertiseAddress, namedAddress, parseHostPort } from './addresses.ts';

/** What the daemon's flags say; empty = nothing. */
export interface AddressFlags {
  /** `IP[:port]` */
  readonly listenAddress: string;
  /** IP or interface */
  readonly advertiseAddress: string;
}

/** `IP:port` each; kept over restarts. */
export interface NodeAddresses {
  readonly listen: string;
  readonly advertise: string;
  /** IP for traffic between tasks; '' = that of `advertise` */
  readonly dataPath: string;
  /** by which it joined; empty for the founder */
  readonly managers: readonly string[];
  /** the flags when this was decided: other ones at a later start are news */
  readonly flags: AddressFlags;
}

/** Docker's default, which clients send when nothing was asked for. */
const DEFAULT_LISTEN = '0.0.0.0:2377';

export interface AskedAddresses extends AddressFlags {
  /** IP or interface */
  readonly dataPathAddress: string;
}

/** For `init` and `join`: what is asked for there, else what the flags say. */
export function chooseAddresses(
  asked: AskedAddresses,
  flags: AddressFlags,
  managers: readonly string[],
): NodeAddresses {
  const askedListen = asked.listenAddress === DEFAULT_LISTEN ? '' : asked.listenAddress;
  const listen = parseHostPort(askedListen || flags.listenAddress || DEFAULT_LISTEN);
  const host = chooseAdvertiseAddress(
    asked.advertiseAddress || flags.advertiseAddress,
    listen.host,
  );
  return {
    listen: `${listen.host}:${listen.port}`,
    advertise: `${host}:${listen.port}`,
    dataPath: asked.dataPathAddress && namedAddress(asked.dataPathAddress, 'data path address'),
    managers,
    flags,
  };
}

/**
 * For a start: `kept` itself, unless a flag says something else than when that was decided. A flag that is
 * no longer given changes nothing. Members are known by id, so the others follow to the new address.
 */
export function addressesAtStart(kept: NodeAddresses, flags: AddressFlags): NodeAddresses {
  const { listenAddress, advertiseAddress } = flags;
  const isSame =
    listenAddress === kept.flags.listenAddress && advertiseAddress === kept.flags.advertiseAddress;
  if (isSame) return kept;
  const isNewListen = listenAddress !== '' && listenAddress !== kept.flags.listenAddress;
  const isNewAdvertise =
    advertiseAddress !== '' && advertiseAddress !== kept.flags.advertiseAddress;
  const before = parseHostPort(kept.listen);
  const told = parseHostPort(kept.advertise);
  const listen = isNewListen ? parseHostPort(listenAddress) : before;
  // Who advertised what it listened on goes on to do so.
  const followsListen = isNewListen && told.host === before.host;
  const host = isNewAdvertise
    ? chooseAdvertiseAddress(advertiseAddress, listen.host)
    : followsListen
      ? chooseAdvertiseAddress('', listen.host)
      : told.host;
  return {
    ...kept,
    listen: `${listen.host}:${listen.port}`,
    advertise: `${host}:${listen.port}`,
    flags,
  };
}
