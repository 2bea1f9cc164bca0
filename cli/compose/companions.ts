/**
 * `service:NAME` and `container:NAME` of `network_mode`, `pid` and `ipc`: a service of this deployment whose tasks have
 * namespaces of another one's. It starts after that one.
 */
import { companionWord } from '../../common/model/companions.ts';
import type { CompanionWord } from '../../common/model/service.ts';
import type { Fields, Item } from './item.ts';
import { nearestWord } from './problems.ts';
import { type StackScope, scopedName } from './scope.ts';
import type { Dependency } from './stack.ts';

const WORD = /^(service|container):(.*)$/s;
const KEYS = ['network_mode', 'pid', 'ipc'] as const;

export const isCompanionText = (text: string): boolean => WORD.test(text);

export interface CompanionNames {
  /** keys of the services that are deployed */
  readonly services: readonly string[];
  /** to the keys of the services that have them */
  readonly containerNames: ReadonlyMap<string, string>;
}

export function companionNames(services: readonly (readonly [string, Item])[]): CompanionNames {
  const containerNames = new Map<string, string>();
  for (const [key, service] of services) {
    const name = service.isMap ? service.fields().get('container_name')?.text() : undefined;
    if (name !== undefined) containerNames.set(name, key);
  }
  return { services: services.map(([key]) => key), containerNames };
}

/** What the spec says in the place of such a value; null for other values, and for what is not there. */
export function companionTarget(
  { request, companions }: Pick<StackScope, 'request' | 'companions'>,
  item: Item | undefined,
): CompanionWord | null {
  const key = item && companionKey(companions, item);
  return key === undefined || key === null ? null : companionWord(scopedName(request.name, key));
}

/** Notes a service or container that this deployment has not. */
export function checkCompanions(names: CompanionNames, own: string, fields: Fields): void {
  for (const item of companionItems(fields)) {
    const [, kind, name = ''] = WORD.exec(item.text() ?? '')!;
    const key = companionKey(names, item);
    if (key === own) item.problem(`${item.path}: a service cannot share its own`);
    if (key !== null) continue;
    const known = kind === 'service' ? names.services : [...names.containerNames.keys()];
    const near = nearestWord(name, known);
    const hint = near === null ? '' : `; did you mean ${near}?`;
    const what =
      kind === 'service'
        ? `there is no service "${name}" in this deployment`
        : `"${name}" is the container_name of no service of this deployment; containers that others made are on one node only`;
    item.problem(`${item.path}: ${what}${hint}`);
  }
  if (!isCompanionText(fields.get('network_mode')?.text() ?? '')) return;
  for (const key of ['dns', 'dns_search', 'dns_opt', 'extra_hosts']) {
    const item = fields.get(key);
    item?.problem(`${item.path}: the network is another service's, where this is given`);
  }
}

/** With the start of each that it shares something of, unless more of it is waited for already. */
export function withCompanions(
  dependsOn: readonly Dependency[],
  names: CompanionNames,
  fields: Fields,
): readonly Dependency[] {
  const known = new Set(dependsOn.map(({ service }) => service));
  const further = companionEdges(names, fields).filter(({ to }) => !known.has(to));
  return [
    ...dependsOn,
    ...[...new Set(further.map(({ to }) => to))].map(
      (service): Dependency => ({ service, condition: 'service_started', required: true }),
    ),
  ];
}

/** The services that it shares something of, with where that is written. */
export function companionEdges(
  names: CompanionNames,
  fields: Fields,
): readonly { readonly to: string; readonly at: Item }[] {
  return companionItems(fields).flatMap((at) => {
    const to = companionKey(names, at);
    return to === null ? [] : [{ to, at }];
  });
}

function companionItems(fields: Fields): Item[] {
  return KEYS.flatMap((key) => {
    const item = fields.get(key);
    return item && isCompanionText(item.text() ?? '') ? [item] : [];
  });
}

function companionKey(names: CompanionNames, item: Item): string | null {
  const [, kind, name = ''] = WORD.exec(item.text() ?? '') ?? [];
  if (kind === 'container') return names.containerNames.get(name) ?? null;
  return kind === 'service' && names.services.includes(name) ? name : null;
}
