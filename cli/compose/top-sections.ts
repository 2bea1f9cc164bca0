/** The top-level sections `networks`, `volumes`, `secrets` and `configs`. */
import type { IpamJson, NetworkCreateJson } from '../../common/model/engine-json/network.ts';
import type { SecretSpecJson } from '../../common/model/engine-json/secret.ts';
import { checkFileObjectName, checkName } from '../../common/model/names.ts';
import type { Fields, Item } from './item.ts';
import {
  type Declaration,
  type StackScope,
  scopedName,
  type VolumeDeclaration,
  withNamespace,
} from './scope.ts';

/** Stands for a declaration whose mistake is told, so that its uses are none. */
const unusable = (key: string): Declaration => ({ name: key, external: true, place: null });

/** `external: true`, `external: {name: x}`, `name: x`. */
function naming(
  stack: string,
  key: string,
  fields: Fields,
  check: (name: string) => void,
  at: Item,
): Declaration {
  const external = fields.get('external');
  let name = fields.get('name')?.text() ?? null;
  let isExternal = false;
  if (external?.isMap) {
    isExternal = true;
    const inner = external.fields().get('name')?.text();
    if (inner !== undefined && name !== null)
      external.problem(`${external.path}: name is given twice`);
    name ??= inner ?? null;
  } else if (external) isExternal = external.boolean() ?? false;
  const full = name ?? (isExternal ? key : scopedName(stack, key));
  (fields.get('name') ?? at).attempt(() => check(full));
  const { place } = fields.get('name') ?? external ?? at;
  return { name: full, external: isExternal, place };
}

export interface NetworkSection {
  readonly declarations: ReadonlyMap<string, Declaration>;
  readonly specs: ReadonlyMap<string, NetworkCreateJson>;
}

export function networkSection(stack: string, section: Item | undefined): NetworkSection {
  const declarations = new Map<string, Declaration>();
  const specs = new Map<string, NetworkCreateJson>();
  for (const [key, item] of section?.entries() ?? []) {
    if (item.isBroken) {
      declarations.set(key, unusable(key));
      continue;
    }
    const fields = item.fields();
    const named = naming(stack, key, fields, checkName, item);
    declarations.set(key, named);
    const ipam = fields.get('ipam');
    specs.set(key, {
      Name: named.name,
      Driver: fields.get('driver')?.text() || 'overlay',
      Internal: fields.get('internal')?.boolean() ?? false,
      Attachable: fields.get('attachable')?.boolean() ?? false,
      EnableIPv6: fields.get('enable_ipv6')?.boolean() ?? false,
      ...(ipam && { IPAM: ipamOf(ipam) }),
      Options: fields.get('driver_opts')?.stringMap() ?? {},
      Labels: withNamespace(stack, fields.get('labels')?.stringMap() ?? {}),
    });
  }
  if (!declarations.has('default')) {
    const name = scopedName(stack, 'default');
    declarations.set('default', { name, external: false, place: null });
    specs.set('default', { Name: name, Driver: 'overlay', Labels: withNamespace(stack, {}) });
  }
  return { declarations, specs };
}

function ipamOf(item: Item): IpamJson {
  const fields = item.fields();
  return {
    Driver: fields.get('driver')?.text() ?? 'default',
    Config: (fields.get('config')?.items() ?? []).map((config) => {
      const inner = config.fields();
      const subnet = inner.get('subnet')?.text();
      const gateway = inner.get('gateway')?.text();
      const range = inner.get('ip_range')?.text();
      const reserved = inner.get('aux_addresses')?.stringMap();
      return {
        ...(subnet && { Subnet: subnet }),
        ...(gateway && { Gateway: gateway }),
        ...(range && { IPRange: range }),
        ...(reserved && { AuxiliaryAddresses: reserved }),
      };
    }),
  };
}

export function volumeSection(
  stack: string,
  section: Item | undefined,
): ReadonlyMap<string, VolumeDeclaration> {
  const volumes = new Map<string, VolumeDeclaration>();
  for (const [key, item] of section?.entries() ?? []) {
    if (item.isBroken) {
      volumes.set(key, { ...unusable(key), driver: '', driverOptions: {}, labels: {} });
      continue;
    }
    const fields = item.fields();
    const named = naming(stack, key, fields, () => {}, item);
    for (const other of ['driver', 'driver_opts', 'labels']) {
      if (!named.external || !fields.has(other)) continue;
      fields.get(other)?.problem(`${item.path}: ${other} conflicts with external`);
    }
    volumes.set(key, {
      ...named,
      driver: fields.get('driver')?.text() ?? '',
      driverOptions: fields.get('driver_opts')?.stringMap() ?? {},
      labels: withNamespace(stack, fields.get('labels')?.stringMap() ?? {}),
    });
  }
  return volumes;
}

export interface FileSection {
  readonly declarations: ReadonlyMap<string, Declaration>;
  readonly specs: readonly SecretSpecJson[];
}

/** Secrets and configs: their data from a file, an environment variable, or the stack file itself. */
export function fileSection(
  kind: 'secret' | 'config',
  scope: Pick<StackScope, 'request' | 'readFile'>,
  section: Item | undefined,
): FileSection {
  const stack = scope.request.name;
  const declarations = new Map<string, Declaration>();
  const specs: SecretSpecJson[] = [];
  for (const [key, item] of section?.entries() ?? []) {
    if (item.isBroken) {
      declarations.set(key, unusable(key));
      continue;
    }
    const fields = item.fields();
    const named = naming(stack, key, fields, (name) => checkFileObjectName(kind, name), item);
    declarations.set(key, named);
    const data = named.external ? null : fileData(scope, item, fields);
    if (data === null) continue;
    const template = fields.get('template_driver')?.text();
    specs.push({
      Name: named.name,
      Labels: withNamespace(stack, fields.get('labels')?.stringMap() ?? {}),
      Data: Buffer.from(data).toString('base64'),
      ...(template !== undefined && { Templating: { Name: template } }),
    });
  }
  return { declarations, specs };
}

function fileData(
  scope: Pick<StackScope, 'request' | 'readFile'>,
  item: Item,
  fields: Fields,
): Uint8Array | null {
  const sources = ['file', 'environment', 'content'].filter((name) => fields.has(name));
  if (sources.length !== 1) {
    item.problem(`${item.path}: one of file, environment, content or external is needed`);
    return null;
  }
  const source = fields.get(sources[0]!)!;
  const text = source.text();
  if (text === undefined) return null;
  if (sources[0] === 'content') return Buffer.from(text);
  if (sources[0] === 'file') return scope.readFile(text, source.place);
  const value = scope.request.env[text];
  if (value === undefined)
    source.problem(`${source.path}: environment variable ${text} is not set`);
  return value === undefined ? null : Buffer.from(value);
}
