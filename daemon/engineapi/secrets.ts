/** `/secrets` and `/configs`. */
import { DEPLOYMENT_LABEL } from '../../common/model/stack.ts';
import { Filters } from './filters.ts';
import { JsonReader } from './json/reader.ts';
import {
  configSpecFromJson,
  configToJson,
  secretSpecFromJson,
  secretToJson,
} from './json/secret.ts';
import { controlOf, type RouteParts } from './parts.ts';
import type { Routes } from './server.ts';

const FILTERS = ['id', 'label', 'name', 'names'];

function objectFilters(text: string | null): object {
  const filters = Filters.parse(text, FILTERS);
  return {
    ids: filters.get('id'),
    names: filters.get('names'),
    namePrefixes: filters.get('name'),
    labels: filters.get('label'),
  };
}

export function addSecretRoutes(routes: Routes, parts: RouteParts): void {
  routes.add('GET', '/secrets', async (context) => {
    const filters = objectFilters(context.text('filters'));
    const secrets = await controlOf(parts).listSecrets(filters, context.signal);
    context.send(200, secrets.map(secretToJson));
  });
  routes.add('POST', '/secrets/create', async (context) => {
    const spec = secretSpecFromJson(new JsonReader(await context.json()));
    const { id } = await controlOf(parts).createSecret(spec, context.signal);
    context.send(201, { ID: id });
  });
  routes.add('GET', '/secrets/:id', async (context) => {
    const secret = await controlOf(parts).getSecret(context.param('id'), context.signal);
    context.send(200, secretToJson(secret));
  });
  routes.add('POST', '/secrets/:id/update', async (context) => {
    const spec = secretSpecFromJson(new JsonReader(await context.json()));
    const version = context.integer('version');
    await controlOf(parts).updateSecret(context.param('id'), version, spec, context.signal);
    context.empty(200);
  });
  routes.add('DELETE', '/secrets/:id', async (context) => {
    await controlOf(parts).removeSecret(context.param('id'), context.signal);
    context.empty(204);
  });
}

export function addConfigRoutes(routes: Routes, parts: RouteParts): void {
  routes.add('GET', '/configs', async (context) => {
    const filters = objectFilters(context.text('filters'));
    const configs = await controlOf(parts).listConfigs(filters, context.signal);
    // Records of deployments are nobody's configs: they are shown to those who ask for them.
    const isAskedFor = Filters.parse(context.text('filters'), FILTERS).get('label').length > 0;
    const shown = configs.filter(
      ({ spec }) => isAskedFor || !Object.hasOwn(spec.labels, DEPLOYMENT_LABEL),
    );
    context.send(200, shown.map(configToJson));
  });
  routes.add('POST', '/configs/create', async (context) => {
    const spec = configSpecFromJson(new JsonReader(await context.json()));
    const { id } = await controlOf(parts).createConfig(spec, context.signal);
    context.send(201, { ID: id });
  });
  routes.add('GET', '/configs/:id', async (context) => {
    const config = await controlOf(parts).getConfig(context.param('id'), context.signal);
    context.send(200, configToJson(config));
  });
  routes.add('POST', '/configs/:id/update', async (context) => {
    const spec = configSpecFromJson(new JsonReader(await context.json()));
    const version = context.integer('version');
    await controlOf(parts).updateConfig(context.param('id'), version, spec, context.signal);
    context.empty(200);
  });
  routes.add('DELETE', '/configs/:id', async (context) => {
    await controlOf(parts).removeConfig(context.param('id'), context.signal);
    context.empty(204);
  });
}
