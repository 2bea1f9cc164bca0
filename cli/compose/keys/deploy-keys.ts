/** The keys of `deploy`. */
import {
  COUNT,
  DURATION,
  FLAG,
  honoured,
  type KeyTable,
  list,
  map,
  NUMBER,
  nullable,
  PAIRS,
  refused,
  section,
  TEXT,
  TEXT_LIST,
  TEXT_SET,
  words,
} from './key.ts';

const updateKeys = (field: string): KeyTable => ({
  parallelism: honoured(`${field}.Parallelism`, COUNT),
  delay: honoured(`${field}.Delay`, DURATION),
  failure_action: honoured(`${field}.FailureAction`, TEXT),
  monitor: honoured(`${field}.Monitor`, DURATION),
  max_failure_ratio: honoured(`${field}.MaxFailureRatio`, NUMBER),
  order: honoured(`${field}.Order`, words('start-first', 'stop-first')),
});

const REQUESTS = 'ContainerSpec.DeviceRequests';

/** What asks for devices, here and in `gpus`. */
export const DEVICE_REQUEST_KEYS: KeyTable = {
  capabilities: honoured(`${REQUESTS}.Capabilities`, TEXT_SET),
  count: honoured(`${REQUESTS}.Count`, COUNT),
  device_ids: honoured(`${REQUESTS}.DeviceIDs`, TEXT_SET),
  driver: honoured(`${REQUESTS}.Driver`, TEXT),
  options: refused('options are for programs of a driver, which do not run here', PAIRS),
};

const LIMITS = 'Resources.Limits';
const RESERVATIONS = 'Resources.Reservations';

export const DEPLOY_KEYS: KeyTable = {
  mode: honoured('Mode', TEXT),
  replicas: honoured('Mode', COUNT),
  endpoint_mode: honoured('EndpointSpec.Mode', TEXT),
  labels: honoured('Labels', PAIRS, 'pairs'),
  update_config: section(map(updateKeys('UpdateConfig'))),
  rollback_config: section(map(updateKeys('RollbackConfig'))),
  restart_policy: section(
    map({
      condition: honoured('RestartPolicy.Condition', TEXT),
      delay: honoured('RestartPolicy.Delay', DURATION),
      max_attempts: honoured('RestartPolicy.MaxAttempts', COUNT),
      window: honoured('RestartPolicy.Window', DURATION),
    }),
  ),
  placement: section(
    map({
      constraints: honoured('Placement.Constraints', TEXT_LIST),
      preferences: section(list(map({ spread: honoured('Placement.Preferences', TEXT) }))),
      max_replicas_per_node: honoured('Placement.MaxReplicas', COUNT),
    }),
  ),
  resources: section(
    map({
      limits: section(
        map({
          cpus: honoured(`${LIMITS}.NanoCPUs`, NUMBER),
          memory: honoured(`${LIMITS}.MemoryBytes`, TEXT),
          pids: honoured(`${LIMITS}.Pids`, COUNT),
        }),
      ),
      reservations: section(
        map({
          cpus: honoured(`${RESERVATIONS}.NanoCPUs`, NUMBER),
          memory: honoured(`${RESERVATIONS}.MemoryBytes`, TEXT),
          generic_resources: section(
            list(
              map({
                discrete_resource_spec: section(
                  map({
                    kind: honoured(`${RESERVATIONS}.GenericResources`, TEXT),
                    value: honoured(`${RESERVATIONS}.GenericResources`, NUMBER),
                  }),
                ),
              }),
            ),
          ),
          devices: honoured(
            'ContainerSpec.DeviceRequests',
            list(map(DEVICE_REQUEST_KEYS, { required: ['capabilities'] })),
          ),
        }),
      ),
    }),
  ),
};

export const DEPLOY = nullable(map(DEPLOY_KEYS));

/** A command that is run when a container starts or stops, or when a file changes. */
export const HOOK = map(
  {
    command: section(nullable({ ...TEXT, ...TEXT_LIST })),
    user: section(TEXT),
    privileged: section(FLAG),
    working_dir: section(TEXT),
    environment: section(PAIRS),
  },
  { required: ['command'] },
);
