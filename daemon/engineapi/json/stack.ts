/** Stacks: the JSON of our own routes and the model. */
import type { StackChangeJson, StackPlanJson } from '../../../common/model/engine-json/stack.ts';
import type { PlacementForecast } from '../../../common/model/placement.ts';
import type { StackPlan, WantedStack } from '../../../common/model/stack.ts';
import { networkSpecFromJson } from './network.ts';
import type { JsonReader } from './reader.ts';
import { configSpecFromJson, secretSpecFromJson } from './secret.ts';
import { serviceSpecFromJson } from './service.ts';

/** @param registryAuth the X-Registry-Auth header; null keeps what the services have */
export function wantedStackFromJson(
  name: string,
  json: JsonReader,
  registryAuth: string | null,
): WantedStack {
  return {
    name,
    networks: json.objects('Networks').map(networkSpecFromJson),
    secrets: json.objects('Secrets').map((file) => wantedFile(file, secretSpecFromJson)),
    configs: json.objects('Configs').map((file) => wantedFile(file, configSpecFromJson)),
    services: json.objects('Services').map((spec) => serviceSpecFromJson(spec, registryAuth)),
    prune: json.boolean('Prune'),
  };
}

function wantedFile<Spec>(
  json: JsonReader,
  specFromJson: (json: JsonReader) => Spec,
): { readonly spec: Spec; readonly object: string | null } {
  return { spec: specFromJson(json), object: json.string('Object') || null };
}

export function stackPlanToJson({ name, hash, changes }: StackPlan): StackPlanJson {
  return {
    Name: name,
    Hash: hash,
    Changes: changes.map((change) => ({
      Kind: change.kind,
      Name: change.name,
      Object: change.object,
      ID: change.id ?? '',
      Version: { Index: change.version },
      SpecVersion: { Index: change.specVersion },
      Action: change.action,
      Fields: change.fields,
      ForcedBy: change.forcedBy,
      ReplacedTasks: change.replacedTasks,
      Note: change.note,
      Landing: landingToJson(change.landing),
    })),
  };
}

function landingToJson(landing: PlacementForecast | null): StackChangeJson['Landing'] {
  if (landing === null) return null;
  const { nodes, unplaced } = landing;
  return {
    Nodes: nodes.map(({ nodeId, hostname, tasks }) => ({
      NodeID: nodeId,
      Hostname: hostname,
      Tasks: tasks,
    })),
    Unplaced: unplaced && { Tasks: unplaced.tasks, Reason: unplaced.reason },
  };
}
