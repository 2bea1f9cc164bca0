/** `PortBindings` and `ExposedPorts` of a container as wishes for ports. Pure. */
import { SkepError } from '../../../common/base/errors.ts';
import type { PortWish } from '../../../worker/network/local-ports.ts';
import { JsonReader } from './reader.ts';

const PORT_MAX = 65_535;

export interface TargetPort {
  readonly protocol: 'tcp' | 'udp';
  readonly targetPort: number;
}

/** `80`, `80/tcp`, `53/udp`. Throws `invalid-argument`, `unimplemented` for SCTP. */
export function targetPortOf(key: string): TargetPort {
  const [, digits = '', protocol = 'tcp'] = /^(\d+)(?:\/([a-z]+))?$/i.exec(key) ?? [];
  const targetPort = Number(digits);
  const word = protocol.toLowerCase();
  if (digits === '' || targetPort < 1 || targetPort > PORT_MAX) {
    throw new SkepError('invalid-argument', `invalid port specification: "${key}"`);
  }
  if (word === 'sctp') {
    throw new SkepError('unimplemented', `port ${key}: SCTP is not supported yet`);
  }
  if (word !== 'tcp' && word !== 'udp') {
    throw new SkepError('invalid-argument', `invalid port specification: "${key}"`);
  }
  return { protocol: word, targetPort };
}

/** @param bindings `{"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}`; a range means its first free port */
export function portWishesOf(bindings: JsonReader, keys: readonly string[]): PortWish[] {
  return keys.flatMap((key) => {
    const target = targetPortOf(key);
    const places = bindings.objects(key);
    return (places.length > 0 ? places : [new JsonReader({})]).map((place) => ({
      ...target,
      hostIp: hostIpOf(place.string('HostIp')),
      ...hostPortsOf(place.string('HostPort')),
    }));
  });
}

/** As one that may be any port. */
export function anyPort(target: TargetPort): PortWish {
  return { ...target, hostIp: '', firstHostPort: 0, lastHostPort: 0 };
}

function hostIpOf(text: string): string {
  if (text === '' || text === '0.0.0.0') return '';
  if (text.includes(':')) {
    throw new SkepError('unimplemented', `publish on ${text}: IPv6 is not supported yet`);
  }
  const isAddress =
    /^\d+\.\d+\.\d+\.\d+$/.test(text) && text.split('.').every((part) => +part < 256);
  if (!isAddress) throw new SkepError('invalid-argument', `invalid IP address: ${text}`);
  return text;
}

function hostPortsOf(text: string): Pick<PortWish, 'firstHostPort' | 'lastHostPort'> {
  if (text === '') return { firstHostPort: 0, lastHostPort: 0 };
  const [, first = '', last = first] = /^(\d+)(?:-(\d+))?$/.exec(text) ?? [];
  const [firstHostPort, lastHostPort] = [Number(first), Number(last)];
  if (first === '' || lastHostPort < firstHostPort || lastHostPort > PORT_MAX) {
    throw new SkepError('invalid-argument', `Invalid port specification: "${text}"`);
  }
  return { firstHostPort, lastHostPort };
}
