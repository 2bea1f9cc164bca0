/**
 * A stack file -> what the daemon is to have. Every mistake is told with its place, all at once;
 * nothing is dropped in silence.
 */
import { isNode } from 'yaml';
import { checkName } from '../../common/model/names.ts';
import { Item, type LoadState } from './item.ts';
import { parseStackText } from './parse.ts';
import { SourceText, StackFileError } from './problems.ts';
import type { StackScope } from './scope.ts';
import { serviceSection } from './service-section.ts';
import type { Stack, StackRequest } from './stack.ts';
import { fileSection, networkSection, volumeSection } from './top-sections.ts';

const TOP_KEYS = {
  known: ['version', 'name', 'services', 'networks', 'volumes', 'secrets', 'configs'],
  undone: ['include', 'models'],
};

/**
 * Throws `StackFileError` for a file that cannot be used, `invalid-argument` for a stack name that
 * cannot be one.
 */
export function loadStack(request: StackRequest): Stack {
  checkName(request.name);
  const source = new SourceText(request.path, request.text);
  const document = parseStackText(source);
  const state: LoadState = { source, document, env: request.env, problems: [], undone: [] };
  const root = new Item(state, isNode(document.contents) ? document.contents : null, null, '');
  const stack = convert(request, state, root);
  if (state.problems.length > 0) throw new StackFileError(source, state.problems);
  return stack;
}

function convert(request: StackRequest, state: LoadState, root: Item): Stack {
  if (root.isNull) root.problem('the file is empty: it needs services');
  const sections = root.fields(TOP_KEYS);
  sections.get('version')?.text();
  const networks = networkSection(request.name, sections.get('networks'));
  const secrets = fileSection('secret', { request, state }, sections.get('secrets'));
  const configs = fileSection('config', { request, state }, sections.get('configs'));
  const scope: StackScope = {
    request,
    state,
    networks: networks.declarations,
    volumes: volumeSection(request.name, sections.get('volumes')),
    secrets: secrets.declarations,
    configs: configs.declarations,
    usedNetworks: new Set(),
    warnings: new Set(),
  };
  const section = sections.get('services');
  const entries = section?.entries() ?? [];
  if (entries.length === 0 && !root.isNull && (!section || section.isMap || section.isNull)) {
    (section ?? root).problem('the file has no services');
  }
  const services = entries
    .map(([key, item]) => serviceSection(scope, key, item))
    .filter((service) => service !== undefined)
    .sort((a, b) => (a.spec.Name < b.spec.Name ? -1 : 1));
  const used = [...scope.usedNetworks].map((key) => ({
    declaration: networks.declarations.get(key)!,
    spec: networks.specs.get(key)!,
  }));
  return {
    name: request.name,
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
    warnings: warningsOf(scope),
  };
}

/** What is known but has no effect yet goes into one line. */
function warningsOf({ state, warnings }: StackScope): string[] {
  const undone = [...new Set(state.undone)].sort();
  return [
    ...(undone.length > 0
      ? [`${state.source.path}: ignoring options that are not supported yet: ${undone.join(', ')}`]
      : []),
    ...[...warnings].map((text) => `${state.source.path}: ${text}`),
  ];
}
