/** Mounts as `--mount` takes them: `type=volume,source=data,target=/data`. */
import { SkepError } from '../../common/base/errors.ts';
import type { MountJson } from '../../common/model/engine-json/container-spec.ts';
import { parseTmpfsText } from '../../common/model/tmpfs-options.ts';
import { parseCsv } from './csv.ts';
import { parseSizeBytes } from './values.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Draft = Mutable<MountJson> & {
  BindOptions?: Mutable<NonNullable<MountJson['BindOptions']>>;
  VolumeOptions?: Mutable<NonNullable<MountJson['VolumeOptions']>>;
  TmpfsOptions?: Mutable<NonNullable<MountJson['TmpfsOptions']>>;
};

export const PROPAGATIONS: readonly string[] = [
  'private',
  'rprivate',
  'shared',
  'rshared',
  'slave',
  'rslave',
];

/** What becomes of mounts below the source of a bind, in Compose's words and docker's; a plain `enabled` bind says nothing. */
const RECURSIONS: Readonly<Record<string, NonNullable<MountJson['BindOptions']>>> = {
  enabled: {},
  disabled: { NonRecursive: true },
  writable: { ReadOnlyNonRecursive: true },
  readonly: { ReadOnlyForceRecursive: true },
};
export const RECURSION_WORDS: readonly string[] = Object.keys(RECURSIONS);

/** null = no such word */
export function recursionOf(word: string): NonNullable<MountJson['BindOptions']> | null {
  return RECURSION_WORDS.includes(word) ? (RECURSIONS[word] ?? null) : null;
}

const TYPES = ['volume', 'bind', 'tmpfs'];

function invalid(text: string, rule: string): never {
  throw new SkepError('invalid-argument', `invalid mount '${text}': ${rule}`);
}

/** Throws `invalid-argument`; `unimplemented` for mount types that are not done. */
export function parseMountFlag(text: string): MountJson {
  const draft: Draft = { Type: 'volume', Target: '' };
  const options: [string, string][] = [];
  for (const { key, value } of parseCsv(text)) {
    if (value === null && !['readonly', 'ro', 'volume-nocopy', 'bind-create-src'].includes(key)) {
      invalid(text, `field ${key} needs a value`);
    }
    if (value === '') invalid(text, `field ${key} is empty`);
    if (!setCommon(draft, text, key, value)) options.push([key, value ?? 'true']);
  }
  for (const [key, value] of options) setOption(draft, text, key, value);
  if (draft.Target === '') invalid(text, 'target is required');
  if (draft.Type === 'bind' && !draft.Source?.startsWith('/')) {
    invalid(text, 'a bind mount needs an absolute source');
  }
  if (draft.Type === 'tmpfs' && draft.Source) invalid(text, 'a tmpfs has no source');
  return draft;
}

/** An octal number; 0 is none, for in a mount it stands for the default. */
const isTmpfsMode = (text: string): boolean => /^(?!0+$)0?[0-7]{1,4}$/.test(text);

/** `/run` or `/run:ro,exec,size=64m,mode=1777`. Throws `invalid-argument` that names the option. */
export function parseTmpfs(text: string): MountJson {
  const [target = '', ...rest] = text.split(':');
  const { isReadOnly, tmpfs } = parseTmpfsText(rest.join(':'));
  const { sizeBytes, mode, options } = tmpfs;
  const set = {
    ...(sizeBytes > 0 && { SizeBytes: sizeBytes }),
    ...(mode > 0 && { Mode: mode }),
    ...(options.length > 0 && { Options: options.map((word) => word.split('=')) }),
  };
  return {
    Type: 'tmpfs',
    Target: target,
    ...(isReadOnly && { ReadOnly: true }),
    ...(Object.keys(set).length > 0 && { TmpfsOptions: set }),
  };
}

const SHARED_MEMORY_MODE = 0o1777;

/** The runtime has a tmpfs of its own at /dev/shm, which a mount of the spec takes the place of. */
export function sharedMemory(sizeBytes: number): MountJson {
  return {
    Type: 'tmpfs',
    Target: '/dev/shm',
    TmpfsOptions: { SizeBytes: sizeBytes, Mode: SHARED_MEMORY_MODE },
  };
}

function setCommon(draft: Draft, text: string, key: string, value: string | null): boolean {
  switch (key) {
    case 'type':
      if (!TYPES.includes(value ?? '')) {
        throw new SkepError(
          'unimplemented',
          `mount '${text}': type ${value} is not supported; there are ${TYPES.join(', ')}`,
        );
      }
      draft.Type = value ?? '';
      return true;
    case 'source':
    case 'src':
      draft.Source = value ?? '';
      return true;
    case 'target':
    case 'dst':
    case 'destination':
      draft.Target = value ?? '';
      return true;
    case 'readonly':
    case 'ro':
      draft.ReadOnly = bool(text, key, value);
      return true;
    case 'consistency':
      return true; // has no effect on Linux
    default:
      return false;
  }
}

function setOption(draft: Draft, text: string, key: string, value: string): void {
  const type = key.split('-')[0]!;
  if (!['bind', 'volume', 'tmpfs'].includes(type)) invalid(text, `unknown field ${key}`);
  if (type !== draft.Type) invalid(text, `${key} does not fit a mount of type ${draft.Type}`);
  switch (key) {
    case 'bind-propagation':
      if (!PROPAGATIONS.includes(value)) {
        invalid(text, `${key} is one of ${PROPAGATIONS.join(', ')}`);
      }
      draft.BindOptions = { ...draft.BindOptions, Propagation: value };
      return;
    case 'bind-recursive': {
      const words = recursionOf(value);
      if (words === null) invalid(text, `${key} is one of ${RECURSION_WORDS.join(', ')}`);
      draft.BindOptions = { ...draft.BindOptions, ...words };
      return;
    }
    case 'bind-create-src':
      draft.BindOptions = { ...draft.BindOptions, CreateMountpoint: bool(text, key, value) };
      return;
    case 'volume-nocopy':
      draft.VolumeOptions = { ...draft.VolumeOptions, NoCopy: bool(text, key, value) };
      return;
    case 'volume-subpath':
      draft.VolumeOptions = { ...draft.VolumeOptions, Subpath: value };
      return;
    case 'volume-label':
      draft.VolumeOptions = {
        ...draft.VolumeOptions,
        Labels: { ...draft.VolumeOptions?.Labels, ...pairOf(value) },
      };
      return;
    case 'volume-driver':
      draft.VolumeOptions = {
        ...draft.VolumeOptions,
        DriverConfig: { ...draft.VolumeOptions?.DriverConfig, Name: value },
      };
      return;
    case 'volume-opt': {
      const config = draft.VolumeOptions?.DriverConfig;
      draft.VolumeOptions = {
        ...draft.VolumeOptions,
        DriverConfig: { ...config, Options: { ...config?.Options, ...pairOf(value) } },
      };
      return;
    }
    case 'tmpfs-size':
      draft.TmpfsOptions = { ...draft.TmpfsOptions, SizeBytes: parseSizeBytes(value) };
      return;
    case 'tmpfs-mode':
      if (!isTmpfsMode(value)) invalid(text, `${key} is an octal number, and not 0`);
      draft.TmpfsOptions = { ...draft.TmpfsOptions, Mode: Number.parseInt(value, 8) };
      return;
    default:
      invalid(text, `unknown field ${key}`);
  }
}

function bool(text: string, key: string, value: string | null): boolean {
  if (value === null || value === 'true' || value === '1') return true;
  if (value === 'false' || value === '0') return false;
  return invalid(text, `${key} is true or false`);
}

function pairOf(text: string): Record<string, string> {
  const at = text.indexOf('=');
  return at < 0 ? { [text]: '' } : { [text.slice(0, at)]: text.slice(at + 1) };
}
