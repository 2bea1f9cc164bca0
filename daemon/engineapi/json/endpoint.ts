/** What a container wants of its networks: `EndpointConfig` and what stands for it elsewhere. */
import { SkepError } from '../../../common/base/errors.ts';
import type { EndpointWish } from '../../../worker/network/container-place.ts';
import { parseLink } from './links.ts';
import type { JsonReader } from './reader.ts';

/** One network's; throws `unimplemented` for what is not done. */
export function endpointFromJson(json: JsonReader): Omit<EndpointWish, 'network'> {
  json.refuse('DriverOpts', 'options of places are not done');
  json.refuse('GwPriority', 'the first network with a way out has it');
  const ipam = json.object('IPAMConfig');
  ipam.refuse('IPv6Address', 'networks of this node have IPv4 only');
  ipam.refuse('LinkLocalIPs', 'link-local addresses are not done');
  const links = json.strings('Links').map(parseLink);
  return {
    aliases: json.strings('Aliases'),
    address: ipam.string('IPv4Address'),
    mac: json.string('MacAddress'),
    ...(links.length > 0 && { links }),
  };
}

/**
 * Of `POST /containers/create`: the network of `HostConfig.NetworkMode` first, then the others of
 * `NetworkingConfig`. @param refOf a reference as the worker takes it
 */
export function endpointsFromJson(
  config: JsonReader,
  host: JsonReader,
  refOf: (reference: string) => string,
): EndpointWish[] {
  const mode = host.string('NetworkMode');
  const primary = ['', 'default'].includes(mode) ? 'bridge' : mode;
  const given = config.object('NetworkingConfig').object('EndpointsConfig');
  const isPrimary = (name: string): boolean =>
    name === primary || (name === 'default' && primary === 'bridge');
  const own = given.names.find(isPrimary);
  const first = endpointFromJson(own === undefined ? given.object('') : given.object(own));
  const mac = config.string('MacAddress');
  if (mac !== '' && first.mac !== '' && mac !== first.mac) {
    const words = 'conflicting MAC addresses: one of the container, another one of its network';
    throw new SkepError('invalid-argument', words);
  }
  const wishes = [
    { ...first, mac: first.mac || mac, network: refOf(primary) },
    ...given.names
      .filter((name) => !isPrimary(name))
      .map((name) => ({ ...endpointFromJson(given.object(name)), network: refOf(name) })),
  ];
  return wishes;
}
