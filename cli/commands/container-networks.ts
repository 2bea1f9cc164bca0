/** The networks of a new container: `--network`, and the flags that say what it has in the first of them. */
import type { EndpointConfigJson } from '../../common/model/engine-json/network.ts';
import { parseCsv } from '../compose/csv.ts';
import { UsageError } from './context.ts';

export interface NetworkFlags {
  readonly network?: readonly string[];
  readonly networkAlias?: readonly string[];
  readonly ip?: string;
  readonly macAddress?: string;
}

export interface ContainerNetworks {
  /** of `HostConfig.NetworkMode`; undefined = the node's own choice */
  readonly mode: string | undefined;
  /** by name of the network */
  readonly endpoints: Readonly<Record<string, EndpointConfigJson>>;
}

interface Place {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly ip: string;
  readonly mac: string;
}

/** Throws `UsageError` naming the flag. */
export function containerNetworks(flags: NetworkFlags): ContainerNetworks {
  const places = (flags.network ?? []).map(placeOf);
  const own = { aliases: flags.networkAlias ?? [], ip: flags.ip, mac: flags.macAddress };
  const [named, ...others] = places;
  const first = together(named ?? { name: 'bridge', aliases: [], ip: '', mac: '' }, own);
  const all = [first, ...others];
  for (const [at, { name }] of all.entries()) {
    if (all.slice(0, at).some((other) => other.name === name)) {
      throw new UsageError(`--network: network "${name}" is specified multiple times`);
    }
    const odd = all.length > 1 || says(all[at]!) ? wordFor(name) : null;
    if (odd !== null) {
      throw new UsageError(
        `--network ${name}: ${odd} goes with no other network, alias or address`,
      );
    }
  }
  const given = all.filter((place, at) => at > 0 || says(place));
  return {
    mode: named?.name,
    endpoints: Object.fromEntries(given.map((place) => [place.name, endpointOf(place)])),
  };
}

/** `NAME`, or `name=NAME,alias=A,ip=ADDRESS,mac-address=ADDRESS`. */
function placeOf(text: string): Place {
  if (!text.includes('=')) return { name: text, aliases: [], ip: '', mac: '' };
  const words = { name: '', ip: '', 'mac-address': '' };
  const aliases: string[] = [];
  for (const { key, value } of parseCsv(text)) {
    if (key === 'alias' && value) aliases.push(value);
    else if (Object.hasOwn(words, key) && value) words[key as keyof typeof words] = value;
    else
      throw new UsageError(
        `--network ${text}: ${key}${value ? ' is not supported' : ' needs a value'}`,
      );
  }
  if (words.name === '') throw new UsageError(`--network ${text}: name is missing`);
  return { name: words.name, aliases, ip: words.ip, mac: words['mac-address'] };
}

interface FirstFlags {
  readonly aliases: readonly string[];
  readonly ip: string | undefined;
  readonly mac: string | undefined;
}

function together(place: Place, { aliases, ip, mac }: FirstFlags): Place {
  const twice: readonly (readonly [string, boolean])[] = [
    ['--network-alias', aliases.length > 0 && place.aliases.length > 0],
    ['--ip', ip !== undefined && place.ip !== ''],
    ['--mac-address', mac !== undefined && place.mac !== ''],
  ];
  const flag = twice.find(([, isTwice]) => isTwice)?.[0];
  if (flag) throw new UsageError(`${flag}: --network ${place.name} says it too`);
  return {
    name: place.name,
    aliases: [...place.aliases, ...aliases],
    ip: ip ?? place.ip,
    mac: mac ?? place.mac,
  };
}

const says = ({ aliases, ip, mac }: Place): boolean =>
  aliases.length > 0 || ip !== '' || mac !== '';

/** For what is no network that has places. */
function wordFor(name: string): string | null {
  if (name === 'host' || name === 'none') return `the mode ${name}`;
  return name.startsWith('container:') ? 'the network of another container' : null;
}

function endpointOf({ aliases, ip, mac }: Place): EndpointConfigJson {
  return {
    ...(aliases.length > 0 && { Aliases: aliases }),
    ...(ip !== '' && { IPAMConfig: { IPv4Address: ip } }),
    ...(mac !== '' && { MacAddress: mac }),
  };
}
