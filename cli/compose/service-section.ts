/** One entry of `services`: a service's spec. What runs in its containers is in container-section.ts. */
import { posix } from 'node:path';
import type { LabelsJson } from '../../common/model/engine-json/object-head.ts';
import type { PortJson } from '../../common/model/engine-json/port.ts';
import type { PlacementJson } from '../../common/model/engine-json/task.ts';
import { parseImageReference } from '../../common/model/image-reference.ts';
import { DEFAULT_LOG_DRIVER } from '../../common/model/log-driver.ts';
import { checkName } from '../../common/model/names.ts';
import { IMAGE_LABEL } from '../../common/model/stack.ts';
import { DEPENDS_ON_LABEL, dependsOnLabel } from '../../common/model/start-order.ts';
import { checkCompanions, withCompanions } from './companions.ts';
import { containerSection } from './container-section.ts';
import { dependenciesOf } from './dependencies.ts';
import { type Deployment, deploySection, restartWord } from './deploy-section.ts';
import {
  attachmentSection,
  checkPublishing,
  checkSeats,
  portSection,
  undefinedName,
} from './endpoint-section.ts';
import type { Fields, Item } from './item.ts';
import { limitSection } from './limit-section.ts';
import { type Declaration, type StackScope, scopedName, withNamespace } from './scope.ts';
import { some } from './some.ts';
import type { Dependency, FileUse, StackService } from './stack.ts';

/** undefined when the service cannot be made; the reasons are noted. */
export function serviceSection(
  scope: StackScope,
  key: string,
  item: Item,
): StackService | undefined {
  const stack = scope.request.name;
  const name = scopedName(stack, key);
  if (!item.isMap) return undefined;
  item.attempt(() => checkName(name));
  const fields = item.fields();
  const image = imageOf(item, fields);
  const deploy = deploySection(fields.get('deploy'), fields.get('scale'));
  const restart = fields.get('restart');
  const restartPolicy = deploy.restart ?? (restart && restartWord(restart));
  const container = containerSection(scope, fields, image);
  const log = logOf(fields);
  const networks = attachmentSection(scope, key, fields);
  const ports = portSection(fields.get('ports'));
  checkPublishing(fields.get('ports') ?? fields.get('networks'), networks, ports);
  checkSeats(fields.get('networks'), networks, deploy);
  checkCompanions(scope.companions, key, fields);
  const dependsOn = withCompanions(
    dependenciesOf(fields.get('depends_on')),
    scope.companions,
    fields,
  );
  return {
    key,
    dependsOn,
    secrets: filesOf('secret', scope.secrets, fields.get('secrets')),
    configs: filesOf('config', scope.configs, fields.get('configs')),
    spec: {
      Name: name,
      Labels: withNamespace(stack, {
        ...deploy.labels,
        [IMAGE_LABEL]: image,
        ...orderLabel(stack, dependsOn),
      }),
      TaskTemplate: {
        ContainerSpec: container,
        Resources: limitSection(deploy.resources, fields),
        ...(restartPolicy && { RestartPolicy: restartPolicy }),
        Placement: { ...deploy.placement, ...platformOf(fields.get('platform')) },
        Networks: networks,
        ...(log && { LogDriver: log }),
        ForceUpdate: 0,
      },
      ...deployed(deploy, ports),
    },
  };
}

/** Options without a driver are those of the format's default, json-file. */
function logOf(fields: Fields): { readonly Name: string; readonly Options?: LabelsJson } | null {
  const logging = fields.get('logging')?.fields();
  const driver = logging?.get('driver')?.text();
  const options = logging?.get('options')?.stringMap() ?? {};
  if (driver === undefined && Object.keys(options).length === 0) return null;
  const name = driver ?? DEFAULT_LOG_DRIVER.name;
  return { Name: name, ...(Object.keys(options).length > 0 && { Options: options }) };
}

/** The cluster keeps the order with the service, so that it holds without the file as well. */
function orderLabel(stack: string, dependsOn: readonly Dependency[]): LabelsJson {
  if (dependsOn.length === 0) return {};
  const named = dependsOn.map(({ service, condition }) => ({
    service: scopedName(stack, service),
    condition,
  }));
  return { [DEPENDS_ON_LABEL]: dependsOnLabel(named) };
}

function deployed(deploy: Deployment, ports: readonly PortJson[]) {
  return {
    Mode: deploy.mode,
    ...(deploy.update && { UpdateConfig: deploy.update }),
    ...(deploy.rollback && { RollbackConfig: deploy.rollback }),
    EndpointSpec: {
      ...some('Mode', deploy.endpointMode),
      ...some('Ports', ports),
    },
  };
}

function imageOf(item: Item, fields: Fields): string {
  const image = fields.get('image');
  if (!image) {
    const build = fields.get('build');
    if (build) build.problem(`${build.path}: images are not built here, and no image is named`);
    else item.problem(`${item.path}: image is required`);
    return '';
  }
  const text = image.text();
  if (text === '') image.problem(`${image.path}: image is empty`);
  else if (text !== undefined) image.attempt(() => parseImageReference(text));
  return text ?? '';
}

/** `linux/arm64/v8`: system and architecture; variants are left to the image. */
function platformOf(item: Item | undefined): PlacementJson {
  const text = item?.text();
  if (item === undefined || text === undefined) return {};
  const match = /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/[a-z0-9.]+)?$/.exec(text);
  if (match) return { Platforms: [{ OS: match[1]!, Architecture: match[2]! }] };
  item.problem(`${item.path} must be SYSTEM/ARCHITECTURE such as linux/amd64: got "${text}"`);
  return {};
}

/** Where a target that is no whole path begins. */
const FILES_AT = { secret: '/run/secrets', config: '/' } as const;

/** Sorted by name. */
function filesOf(
  kind: 'secret' | 'config',
  declared: ReadonlyMap<string, Declaration>,
  section: Item | undefined,
): FileUse[] {
  const uses = (section?.items() ?? []).flatMap((item) => fileUse(kind, declared, item));
  const targets = new Map<string, string>();
  for (const { name, target } of uses) {
    const path = posix.resolve(FILES_AT[kind], target);
    const other = targets.get(path);
    if (other !== undefined) {
      section?.problem(`${section.path}: ${other} and ${name} stand at the same target ${target}`);
    }
    targets.set(path, name);
  }
  return uses.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

function fileUse(
  kind: 'secret' | 'config',
  declared: ReadonlyMap<string, Declaration>,
  item: Item,
): FileUse[] {
  const fields = item.isMap ? item.fields() : null;
  const sourceItem = fields ? fields.get('source') : item;
  const source = sourceItem?.text();
  if (source === undefined) {
    if (!sourceItem) item.problem(`${item.path}: source is required`);
    return [];
  }
  const declaration = declared.get(source);
  if (!declaration) {
    undefinedName(sourceItem ?? item, kind, source, [...declared.keys()]);
    return [];
  }
  return [
    {
      name: declaration.name,
      // As it is written: payloads name it so in their templates.
      target: fields?.get('target')?.text() ?? source,
      uid: fields?.get('uid')?.text() ?? '0',
      gid: fields?.get('gid')?.text() ?? '0',
      mode: fields?.get('mode')?.fileMode() ?? 0o444,
    },
  ];
}
