/** The options of the local volume driver (`type`, `device`, `o`), as Docker has them. Pure. */
import { SkepError } from '../base/errors.ts';
import type { StringMap } from './objects.ts';

/** What is mounted where a volume's files are, while somebody uses it. */
export interface VolumeMount {
  /** a file system; `none` of a bind */
  readonly type: string;
  readonly device: string;
  /** MS_* of mount(2) */
  readonly flags: number;
  /** comma-separated, for the file system */
  readonly data: string;
  /** a host of the option `addr` whose address is to stand there; null = none */
  readonly host: string | null;
}

const BIND = 4096;
const FLAGS: Readonly<Record<string, number>> = {
  ...{ ro: 1, nosuid: 2, nodev: 4, noexec: 8, sync: 16, dirsync: 128, noatime: 1024 },
  ...{ nodiratime: 2048, bind: BIND, rbind: BIND | 16_384, relatime: 1 << 21 },
};
const NEUTRAL = new Set(['rw', 'suid', 'dev', 'exec', 'async', 'defaults', '']);
/** Their `addr` may be a name. */
const OVER_NETWORK = new Set(['nfs', 'nfs4', 'cifs']);

/** null = nothing is mounted. Throws `invalid-argument`, `unimplemented`, naming the option. */
export function parseVolumeOptions(options: StringMap): VolumeMount | null {
  const names = Object.keys(options);
  if (names.length === 0) return null;
  for (const name of names) {
    if (['type', 'device', 'o'].includes(name)) continue;
    throw name === 'size'
      ? new SkepError('unimplemented', 'volume driver option size is not supported: no quotas here')
      : new SkepError('invalid-argument', `invalid option: ${JSON.stringify(name)}`);
  }
  const { type = '', device = '', o = '' } = options;
  for (const [name, value] of Object.entries({ type, device })) {
    if (value === '') {
      throw new SkepError('invalid-argument', `missing required option: ${JSON.stringify(name)}`);
    }
  }
  if (/[\s\0]/.test(type)) throw new SkepError('invalid-argument', `invalid option type=${type}`);
  const words = o.split(',');
  const flags = words.reduce((sum, word) => sum | (FLAGS[word] ?? 0), 0);
  const isBind = (flags & BIND) !== 0;
  if (isBind !== (type === 'none')) {
    throw new SkepError('invalid-argument', 'type=none and o=bind go together');
  }
  if (isBind && !device.startsWith('/')) {
    throw new SkepError(
      'invalid-argument',
      `invalid option device=${device}: it is no absolute path`,
    );
  }
  const data = words.filter((word) => FLAGS[word] === undefined && !NEUTRAL.has(word));
  const address = OVER_NETWORK.has(type)
    ? data.find((word) => word.startsWith('addr='))
    : undefined;
  if (type.startsWith('nfs') && address === undefined) {
    throw new SkepError('invalid-argument', `missing option: type=${type} needs o=addr=HOST`);
  }
  return {
    ...{ type, device, flags, data: data.join(',') },
    host: address === undefined ? null : address.slice('addr='.length),
  };
}
