/**
 * Task -> bytes, straight from the model: a task is encoded at each of its writes, and the message objects that the
 * generated code asks for cost as much as the writing. A test holds the bytes against those of the generated code.
 */
import type { Writer } from 'protobufjs/minimal.js';
import { skep } from '../../proto/gen/skep.js';
import type { Annotations, Meta } from '../model/objects.ts';
import type { ContainerStatus, Task, TaskStatus } from '../model/task.ts';
import { logDriverToProto } from './container.ts';
import { endpointToProto, portConfigToProto } from './endpoint.ts';
import { genericResourceToProto } from './resources.ts';
import { int64, text, uint32 } from './scalars.ts';
import {
  attachmentToProto,
  desiredStateTable,
  localAddressToProto,
  taskStateTable,
} from './task.ts';
import { encodeTaskSpec } from './task-spec.ts';

const VARINT = 0;
const DELIMITED = 2;

/** What a field begins with: its number and the form of its value. */
function tag(number: number, form: typeof VARINT | typeof DELIMITED): number {
  return (number << 3) | form;
}

/** Each field of a message, so that one that is new is not forgotten here. */
type FieldsOf<M> = Record<Exclude<keyof M, '$unknowns'>, number>;

/** By the numbers of `proto/objects.proto`. */
const META = {
  version: tag(1, VARINT),
  createdAtMs: tag(2, VARINT),
  updatedAtMs: tag(3, VARINT),
} satisfies FieldsOf<skep.Meta.$Properties>;
const ANNOTATIONS = {
  name: tag(1, DELIMITED),
  labels: tag(2, DELIMITED),
} satisfies FieldsOf<skep.Annotations.$Properties>;
const ENTRY = { key: tag(1, DELIMITED), value: tag(2, DELIMITED) };
const CONTAINER = {
  containerId: tag(1, DELIMITED),
  pid: tag(2, VARINT),
  exitCode: tag(3, VARINT),
  oomKilled: tag(4, VARINT),
} satisfies FieldsOf<skep.ContainerStatus.$Properties>;
const STATUS = {
  state: tag(1, VARINT),
  timestampMs: tag(2, VARINT),
  message: tag(3, DELIMITED),
  err: tag(4, DELIMITED),
  container: tag(5, DELIMITED),
  hostPorts: tag(6, DELIMITED),
  appliedAtMs: tag(7, VARINT),
  localAddresses: tag(8, DELIMITED),
} satisfies FieldsOf<skep.TaskStatus.$Properties>;
const TASK = {
  id: tag(1, DELIMITED),
  meta: tag(2, DELIMITED),
  serviceId: tag(3, DELIMITED),
  slot: tag(4, VARINT),
  nodeId: tag(5, DELIMITED),
  spec: tag(6, DELIMITED),
  specVersion: tag(7, VARINT),
  serviceAnnotations: tag(8, DELIMITED),
  status: tag(9, DELIMITED),
  desiredState: tag(10, VARINT),
  networks: tag(11, DELIMITED),
  endpoint: tag(12, DELIMITED),
  logDriver: tag(13, DELIMITED),
  assignedGenericResources: tag(14, DELIMITED),
  jobIteration: tag(15, VARINT),
  movesStopFirst: tag(40, VARINT),
  hasForerunnersPlace: tag(41, VARINT),
} satisfies FieldsOf<skep.Task.$Properties>;

/** Throws `invalid-argument` for numbers and text that have no encoding. */
export function encodeTask(task: Task, writer: Writer): Writer {
  writeText(writer, TASK.id, task.id);
  writeMeta(task.meta, writer.uint32(TASK.meta).fork()).ldelim();
  writeText(writer, TASK.serviceId, task.serviceId);
  if (task.slot !== null) writer.uint32(TASK.slot).uint32(uint32(task.slot, 'task.slot'));
  if (task.nodeId !== null) writer.uint32(TASK.nodeId).string(text(task.nodeId));
  const spec = encodeTaskSpec(task.spec);
  if (spec.length > 0) writer.uint32(TASK.spec).bytes(spec);
  writeInt(writer, TASK.specVersion, task.specVersion, 'task.specVersion');
  const annotations = writer.uint32(TASK.serviceAnnotations).fork();
  writeAnnotations(task.serviceAnnotations, annotations).ldelim();
  writeStatus(task.status, writer.uint32(TASK.status).fork()).ldelim();
  writer.uint32(TASK.desiredState).int32(desiredStateTable.toProto(task.desiredState));
  return writeRest(task, writer);
}

/** What most tasks do not have, or share with others and is rarely large. */
function writeRest(task: Task, writer: Writer): Writer {
  for (const network of task.networks) {
    const message = attachmentToProto(network);
    skep.NetworkAttachment.encode(message, writer.uint32(TASK.networks).fork()).ldelim();
  }
  if (task.endpoint !== null) {
    const message = endpointToProto(task.endpoint);
    skep.Endpoint.encode(message, writer.uint32(TASK.endpoint).fork()).ldelim();
  }
  if (task.logDriver !== null) {
    const message = logDriverToProto(task.logDriver);
    skep.LogDriver.encode(message, writer.uint32(TASK.logDriver).fork()).ldelim();
  }
  for (const resource of task.assignedGenericResources) {
    const message = genericResourceToProto(resource);
    const field = writer.uint32(TASK.assignedGenericResources).fork();
    skep.GenericResource.encode(message, field).ldelim();
  }
  if (task.jobIteration !== null) {
    writer.uint32(TASK.jobIteration).int64(int64(task.jobIteration, 'task.jobIteration'));
  }
  if (task.moving !== null) writer.uint32(TASK.movesStopFirst).bool(task.moving === 'stop-first');
  if (task.hasForerunnersPlace) writer.uint32(TASK.hasForerunnersPlace).bool(true);
  return writer;
}

function writeMeta({ version, createdAtMs, updatedAtMs }: Meta, writer: Writer): Writer {
  writeInt(writer, META.version, version, 'meta.version');
  writeInt(writer, META.createdAtMs, createdAtMs, 'meta.createdAtMs');
  return writeInt(writer, META.updatedAtMs, updatedAtMs, 'meta.updatedAtMs');
}

function writeAnnotations({ name, labels }: Annotations, writer: Writer): Writer {
  writeText(writer, ANNOTATIONS.name, name);
  for (const key in labels) {
    const entry = writer.uint32(ANNOTATIONS.labels).fork();
    entry.uint32(ENTRY.key).string(text(key)).uint32(ENTRY.value).string(text(labels[key]!));
    entry.ldelim();
  }
  return writer;
}

function writeStatus(status: TaskStatus, writer: Writer): Writer {
  writer.uint32(STATUS.state).int32(taskStateTable.toProto(status.state));
  writeInt(writer, STATUS.timestampMs, status.timestampMs, 'status.timestampMs');
  writeText(writer, STATUS.message, status.message);
  writeText(writer, STATUS.err, status.err);
  if (status.container !== null) {
    writeContainer(status.container, writer.uint32(STATUS.container).fork()).ldelim();
  }
  for (const port of status.hostPorts) {
    const message = portConfigToProto(port);
    skep.PortConfig.encode(message, writer.uint32(STATUS.hostPorts).fork()).ldelim();
  }
  writeInt(writer, STATUS.appliedAtMs, status.appliedAtMs, 'status.appliedAtMs');
  for (const address of status.localAddresses) {
    const message = localAddressToProto(address);
    skep.LocalAddress.encode(message, writer.uint32(STATUS.localAddresses).fork()).ldelim();
  }
  return writer;
}

function writeContainer(container: ContainerStatus, writer: Writer): Writer {
  writeText(writer, CONTAINER.containerId, container.containerId);
  writeInt(writer, CONTAINER.pid, container.pid, 'container.pid');
  writeInt(writer, CONTAINER.exitCode, container.exitCode, 'container.exitCode');
  if (container.oomKilled) writer.uint32(CONTAINER.oomKilled).bool(true);
  return writer;
}

/** A field that is left out when it is empty. */
function writeText(writer: Writer, field: number, value: string): Writer {
  return value === '' ? writer : writer.uint32(field).string(text(value));
}

/** A field that is left out when it is 0. */
function writeInt(writer: Writer, field: number, value: number, name: string): Writer {
  int64(value, name);
  return value === 0 ? writer : writer.uint32(field).int64(value);
}
