/** `volumes` and `tmpfs` of a service, short and long. */

import type { MountJson } from '../../common/model/engine-json/container-spec.ts';
import type { LabelsJson } from '../../common/model/engine-json/object-head.ts';
import type { Fields, Item } from './item.ts';
import { PROPAGATIONS, parseTmpfs, recursionOf, sharedMemory } from './mounts.ts';
import { nearestWord } from './problems.ts';
import { type StackScope, withNamespace } from './scope.ts';
import { parseSizeBytes } from './values.ts';

export function mountSection(scope: StackScope, fields: Fields): MountJson[] {
  const volumes = fields.get('volumes');
  const tmpfs = fields.get('tmpfs');
  const size = fields.get('shm_size')?.parsed(parseSizeBytes);
  const shared = size === undefined ? undefined : sharedMemory(size);
  const mounts = (volumes?.items() ?? []).map((item) =>
    item.isMap ? longMount(scope, item) : shortMount(scope, item),
  );
  const memory = tmpfs?.isList ? tmpfs.items() : tmpfs ? [tmpfs] : [];
  const all = [...mounts, ...memory.map(tmpfsMount), shared].filter((mount) => mount !== undefined);
  const targets = new Set<string>();
  for (const { Target } of all) {
    const at = volumes ?? tmpfs;
    if (targets.has(Target)) at?.problem(`${at.path}: two mounts at ${Target}`);
    targets.add(Target);
  }
  return all;
}

function shortMount(scope: StackScope, item: Item): MountJson | undefined {
  const text = item.text();
  if (text === undefined) return undefined;
  const parts = text.split(':');
  if (parts.length > 3 || parts.some((part) => part === '')) {
    item.problem(`${item.path}: invalid volume "${text}": expected [SOURCE:]TARGET[:OPTIONS]`);
    return undefined;
  }
  if (parts.length === 1) return { Type: 'volume', Target: absolute(item, text) };
  const [source = '', target = '', options = ''] = parts;
  const isPath = /^[./~]/.test(source);
  const extra = shortOptions(item, options, isPath);
  if (isPath) {
    return {
      Type: 'bind',
      Source: source,
      Target: absolute(item, target),
      ...(extra.readOnly && { ReadOnly: true }),
      ...(extra.propagation && { BindOptions: { Propagation: extra.propagation } }),
    };
  }
  return namedVolume(scope, item, source, absolute(item, target), {
    readOnly: extra.readOnly,
    noCopy: extra.noCopy,
    labels: {},
  });
}

function absolute(item: Item, target: string): string {
  if (!target.startsWith('/')) item.problem(`${item.path}: target "${target}" must be absolute`);
  return target;
}

function shortOptions(item: Item, text: string, isBind: boolean) {
  const out = { readOnly: false, noCopy: false, propagation: '' };
  for (const word of text === '' ? [] : text.split(',')) {
    if (word === 'ro') out.readOnly = true;
    else if (word === 'nocopy' && !isBind) out.noCopy = true;
    else if (PROPAGATIONS.includes(word) && isBind) out.propagation = word;
    else if (!['rw', 'z', 'Z', 'cached', 'delegated', 'consistent'].includes(word)) {
      item.problem(`${item.path}: unknown option "${word}" of a volume`);
    }
  }
  return out;
}

interface VolumeExtras {
  readonly readOnly: boolean;
  readonly noCopy: boolean;
  /** '' = the whole volume */
  readonly subpath?: string;
  readonly labels: LabelsJson;
}

function namedVolume(
  scope: StackScope,
  item: Item,
  key: string,
  target: string,
  extras: VolumeExtras,
): MountJson | undefined {
  const volume = scope.volumes.get(key);
  if (!volume) {
    const near = nearestWord(key, [...scope.volumes.keys()]);
    const hint = near === null ? 'declare it under the top-level volumes' : `did you mean ${near}?`;
    item.problem(`${item.path}: undefined volume "${key}"; ${hint}`);
    return undefined;
  }
  scope.usedVolumes.add(key);
  const driver = {
    ...(volume.driver && { Name: volume.driver }),
    ...(Object.keys(volume.driverOptions).length > 0 && { Options: volume.driverOptions }),
  };
  const options = {
    ...(extras.noCopy && { NoCopy: true }),
    ...(extras.subpath && { Subpath: extras.subpath }),
    ...(!volume.external && {
      Labels: withNamespace(scope.request.name, { ...volume.labels, ...extras.labels }),
    }),
    ...(Object.keys(driver).length > 0 && !volume.external && { DriverConfig: driver }),
  };
  return {
    Type: 'volume',
    Source: volume.name,
    Target: target,
    ...(extras.readOnly && { ReadOnly: true }),
    ...(Object.keys(options).length > 0 && { VolumeOptions: options }),
  };
}

function longMount(scope: StackScope, item: Item): MountJson | undefined {
  const fields = item.fields();
  const type = fields.get('type')?.oneOf(['volume', 'bind', 'tmpfs']);
  const targetItem = fields.get('target');
  const target = targetItem?.text();
  if (type === undefined || target === undefined) {
    if (!fields.has('target')) item.problem(`${item.path}: target is required`);
    return undefined;
  }
  absolute(targetItem ?? item, target);
  const sourceItem = fields.get('source');
  const source = sourceItem?.text();
  const readOnly = fields.get('read_only')?.boolean() ?? false;
  const common = { Target: target, ...(readOnly && { ReadOnly: true }) };
  for (const other of ['bind', 'volume', 'tmpfs']) {
    if (other !== type)
      fields.get(other)?.problem(`${item.path}: ${other} conflicts with type ${type}`);
  }
  switch (type) {
    case 'tmpfs': {
      const options = tmpfsOptions(fields.get('tmpfs'));
      return { Type: type, ...common, ...(options && { TmpfsOptions: options }) };
    }
    case 'bind': {
      if (source === undefined) item.problem(`${item.path}: source is required for a bind mount`);
      const options = bindOptions(fields.get('bind'));
      return {
        Type: type,
        Source: source ?? '',
        ...common,
        ...(options && { BindOptions: options }),
      };
    }
    case 'volume': {
      const inner = fields.get('volume')?.fields();
      const noCopy = inner?.get('nocopy')?.boolean() ?? false;
      const subpathItem = inner?.get('subpath');
      const subpath = subpathItem?.text() ?? '';
      const labels = inner?.get('labels')?.stringMap() ?? {};
      if (source === undefined) {
        subpathItem?.problem(
          `${item.path}: a subpath is of a volume with a source: a new one is empty`,
        );
        const options = {
          ...(noCopy && { NoCopy: true }),
          ...(Object.keys(labels).length > 0 && { Labels: labels }),
        };
        return {
          ...{ Type: type, ...common },
          ...(Object.keys(options).length > 0 && { VolumeOptions: options }),
        };
      }
      return namedVolume(scope, sourceItem ?? item, source, target, {
        readOnly,
        noCopy,
        subpath,
        labels,
      });
    }
  }
}

function bindOptions(item: Item | undefined): MountJson['BindOptions'] {
  const fields = item?.fields();
  const propagation = fields?.get('propagation')?.oneOf(PROPAGATIONS);
  const create = fields?.get('create_host_path')?.boolean() ?? false;
  const recursion = recursionOf(fields?.get('recursive')?.text() ?? 'enabled') ?? {};
  const isPlain = Object.keys(recursion).length === 0;
  if (!propagation && !create && isPlain) return undefined;
  return {
    ...(propagation && { Propagation: propagation }),
    ...recursion,
    ...(create && { CreateMountpoint: true }),
  };
}

function tmpfsOptions(item: Item | undefined): MountJson['TmpfsOptions'] {
  const fields = item?.fields();
  const size = fields?.get('size')?.parsed(parseSizeBytes);
  const mode = fields?.get('mode')?.fileMode();
  if (mode === 0) fields?.get('mode')?.problem(`${item?.path}.mode must not be 0`);
  if (size === undefined && mode === undefined) return undefined;
  return {
    ...(size !== undefined && { SizeBytes: size }),
    ...(mode !== undefined && { Mode: mode }),
  };
}

function tmpfsMount(item: Item): MountJson | undefined {
  const mount = item.parsed(parseTmpfs);
  return mount && { ...mount, Target: absolute(item, mount.Target) };
}
