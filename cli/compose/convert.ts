/** A checked model -> the objects of the stack. */

import { companionNames } from './companions.ts';
import { checkDependencies } from './dependencies.ts';
import { Item } from './item.ts';
import type { Fact } from './judge.ts';
import type { StackScope } from './scope.ts';
import { serviceSection } from './service-section.ts';
import type { Stack, StackRequest } from './stack.ts';
import { fileSection, networkSection, volumeSection } from './top-sections.ts';
import { childPath, type Findings, type MapValue } from './tree.ts';

export interface Conversion {
  readonly request: StackRequest;
  readonly findings: Findings;
  /** what is refused by them is not read; what is found to have no effect is added */
  readonly facts: Fact[];
  readonly readFile: StackScope['readFile'];
}

/** Problems are noted; the stack is of use only when there are none. */
export function convertModel(model: MapValue, conversion: Conversion): Stack {
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
  return {
    name: stack,
    networks: used
      .filter(({ declaration }) => !declaration.external)
      .map(({ spec }) => spec)
      .sort((a, b) => (a.Name < b.Name ? -1 : 1)),
    externalNetworks: used
      .filter(({ declaration }) => declaration.external)
      .map(({ declaration }) => declaration.name),
    secrets: secrets.specs,
    configs: configs.specs,
    services,
  };
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
