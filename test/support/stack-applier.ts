/** Carries a plan of a stack out through the control API, as the command does over HTTP. */
import { asId, type ConfigId, type SecretId } from '../../common/model/ids.ts';
import type { ServiceSpec } from '../../common/model/service.ts';
import { fileLabels, type StackChange, type WantedStack } from '../../common/model/stack.ts';
import type { ControlApi } from '../../manager/controlapi/control-api.ts';

export async function applyStack(api: ControlApi, wanted: WantedStack): Promise<void> {
  const { changes } = await api.planStack(wanted);
  const objects = new Map<string, { id: string; object: string }>();
  for (const change of changes) {
    const id = (await applyOne(api, wanted, change, objects)) ?? change.id!;
    objects.set(`${change.kind} ${change.name}`, { id, object: change.object });
  }
}

async function applyOne(
  api: ControlApi,
  wanted: WantedStack,
  change: StackChange,
  objects: ReadonlyMap<string, { id: string; object: string }>,
): Promise<string | null> {
  const { kind, name, object, action, id, version } = change;
  if (action === 'none') return null;
  if (action === 'remove') return api.removeService(id!);
  switch (kind) {
    case 'network':
      return (await api.createNetwork(wanted.networks.find((spec) => spec.name === name)!)).id;
    case 'secret': {
      const { spec } = wanted.secrets.find((file) => file.spec.name === name)!;
      const full = { ...spec, name: object, labels: fileLabels(name, object, spec.labels) };
      if (action === 'create') return (await api.createSecret(full)).id;
      return (await api.updateSecret(id!, version, full)).id;
    }
    case 'config': {
      const { spec } = wanted.configs.find((file) => file.spec.name === name)!;
      const full = { ...spec, name: object, labels: fileLabels(name, object, spec.labels) };
      if (action === 'create') return (await api.createConfig(full)).id;
      return (await api.updateConfig(id!, version, full)).id;
    }
    case 'service': {
      const spec = withFiles(wanted.services.find((service) => service.name === name)!, objects);
      if (action === 'create') return (await api.createService(spec)).id;
      const before = await api.getService(id!);
      const { forceUpdate } = before.spec.task;
      const kept = { ...spec, task: { ...spec.task, forceUpdate } };
      return (await api.updateService(id!, version, kept)).id;
    }
  }
}

function withFiles(
  spec: ServiceSpec,
  objects: ReadonlyMap<string, { id: string; object: string }>,
): ServiceSpec {
  const { container } = spec.task;
  const secrets = container.secrets.map((use) => {
    const { id, object } = objects.get(`secret ${use.secretName}`)!;
    return { ...use, secretId: asId<SecretId>(id), secretName: object };
  });
  const configs = container.configs.map((use) => {
    const { id, object } = objects.get(`config ${use.configName}`)!;
    return { ...use, configId: asId<ConfigId>(id), configName: object };
  });
  return { ...spec, task: { ...spec.task, container: { ...container, secrets, configs } } };
}
