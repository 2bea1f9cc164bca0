/** A checked model -> the objects of the stack. */

import { companionNames } from './companions.ts';
import { checkDependencies } from './dependencies.ts';
import { Item } from './item.ts';
import type { Fact } from './judge.ts';
import type { Place } from './problems.ts';
import type { Declaration, StackScope } from './scope.ts';
import { serviceSection } from './service-section.ts';
import type { ExternalObject, Stack, StackRequest, StackService } from './stack.ts';
import { type FileSection, fileSection, networkSection, volumeSection } from './top-sections.ts';
import { childPath, type Findings, type MapValue } from './tree.ts';

export interface Conversion {
  readonly request: StackRequest;
  readonly findings: Findings;
  /** what is refused by them is not read; what is found to have no effect is added */
  readonly facts: Fact[];
  readonly readFile: StackScope['readFile'];
}

/** Where a file declares it; null of what no file does. */
export type ExternalPlaces = (object: ExternalObject) => Place | null;

export interface Converted {
  readonly stack: Stack;
  readonly places: ExternalPlaces;
}

/** Problems are noted; the stack is of use only when there are none. */
export function convertModel(model: MapValue, conversion: Conversion): Converted {
  const { request, findings, facts, readFile } = conversion;
  const skipped = new Set(facts.filter(({ kind }) => kind === 'refused').map(({ place }) => place));
  const ignored = ({ path, place }: Item, why: string): void => {
    facts.push({ path, place, kind: 'ignored', text: why });
  };
  const root = new Item({ findings, skipped, ignored }, model, '');
  const sections = root.fields();
  const version = sections.get('version');
  const stack = request.name;
  if (version?.text() !== undefined && !/^(2|3)(\.\d+)?$/.test(version.text() ?? '')) {
    version.problem(`unsupported version "${version.text()}" of the format: leave the key out`);
  }
  const networks = networkSection(stack, sections.get('networks'));
  const secrets = fileSection('secret', { request, readFile }, sections.get('secrets'));
  const configs = fileSection('config', { request, readFile }, sections.get('configs'));
  const section = sections.get('services');
  const entries = section?.entries() ?? [];
  const scope: StackScope = {
    request,
    readFile,
    networks: networks.declarations,
    networkSpecs: networks.specs,
    volumes: volumeSection(stack, sections.get('volumes')),
    secrets: secrets.declarations,
    configs: configs.declarations,
    companions: companionNames(entries),
    usedNetworks: new Set(),
    usedVolumes: new Set(),
  };
  if (entries.length === 0 && !section?.isBroken) {
    (section ?? root).problem(
      model.entries.size === 0
        ? 'the file is empty: it needs services'
        : 'the file has no services',
    );
  }
  const services = entries
    .map(([key, item]) => serviceSection(scope, key, item))
    .filter((service) => service !== undefined)
    .sort((a, b) => (a.spec.Name < b.spec.Name ? -1 : 1));
  checkDependencies(new Map(entries), scope.companions);
  // Where a service is wrong it is not known what it uses.
  if (findings.problems.length === 0) {
    tellUnused(model, facts, 'networks', scope.usedNetworks);
    tellUnused(model, facts, 'volumes', scope.usedVolumes);
  }
  const used = [...scope.usedNetworks].map((key) => ({
    declaration: networks.declarations.get(key)!,
    spec: networks.specs.get(key)!,
  }));
  const places = placesOf([
    ['network', networks.declarations],
    ['secret', secrets.declarations],
    ['config', configs.declarations],
  ]);
  const converted = {
    name: stack,
    networks: used
      .filter(({ declaration }) => !declaration.external)
      .map(({ spec }) => spec)
      .sort((a, b) => (a.Name < b.Name ? -1 : 1)),
    external: [
      ...externalOf(
        'network',
        used.map(({ declaration }) => declaration),
      ),
      ...externalOf('secret', usedFiles(secrets, services, 'secrets')),
      ...externalOf('config', usedFiles(configs, services, 'configs')),
    ],
    secrets: secrets.specs,
    configs: configs.specs,
    services,
  };
  return { stack: converted, places };
}

function placesOf(
  sections: readonly (readonly [ExternalObject['kind'], ReadonlyMap<string, Declaration>])[],
): ExternalPlaces {
  return (object) => {
    const declarations = sections.find(([kind]) => kind === object.kind)?.[1].values() ?? [];
    return [...declarations].find(({ name }) => name === object.name)?.place ?? null;
  };
}

function externalOf(
  kind: ExternalObject['kind'],
  declarations: readonly Declaration[],
): readonly ExternalObject[] {
  return declarations.flatMap(({ name, external }) => (external ? [{ kind, name }] : []));
}

function usedFiles(
  { declarations }: FileSection,
  services: readonly StackService[],
  kind: 'secrets' | 'configs',
): readonly Declaration[] {
  const names = new Set(services.flatMap((service) => service[kind].map(({ name }) => name)));
  return [...declarations.values()].filter(({ name }) => names.has(name));
}

/** A network or volume that no service uses is not made: whatever it says has no effect, what is refused too. */
function tellUnused(
  model: MapValue,
  facts: Fact[],
  section: 'networks' | 'volumes',
  used: ReadonlySet<string>,
): void {
  const declared = model.entries.get(section)?.value;
  if (declared?.kind !== 'map') return;
  for (const [key, { keyPlace }] of declared.entries) {
    if (used.has(key)) continue;
    const path = childPath(section, key);
    const text = 'no service uses it: it is not made';
    const others = facts.filter((fact) => !isWithin(fact, path));
    facts.splice(0, facts.length, ...others, { path, place: keyPlace, kind: 'ignored', text });
  }
}

/** What became of a key there; what another file replaces was never read. */
function isWithin({ kind, path }: Fact, outer: string): boolean {
  return kind !== 'replaced' && kind !== 'merged' && path.startsWith(`${outer}.`);
}
