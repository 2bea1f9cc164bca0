/** The directives of etcd/raft's interaction scripts, and ours: what each asks of the group. */
import { confChange, confChangeV2 } from '../../manager/raft/conf-change.ts';
import type { RaftConfig } from '../../manager/raft/config.ts';
import {
  type ConfChangeTransition,
  EMPTY_CONF_STATE,
  type MessageType,
  type NodeId,
  type Snapshot,
} from '../../manager/raft/types.ts';
import { type Directive, valuesOf } from './datadriven.ts';
import { MESSAGE_NAMES, parseChanges } from './raft-format.ts';
import { DirectiveError, type RaftInteraction } from './raft-interaction.ts';

type Handler = (group: RaftInteraction, directive: Directive) => void;

/** The trace of what the directive did. */
export function handleInteraction(group: RaftInteraction, directive: Directive): string {
  return group.perform(() => {
    const handler = HANDLERS[directive.command];
    if (handler === undefined) throw new DirectiveError('unknown command');
    handler(group, directive);
  });
}

function idsOf(directive: Directive): NodeId[] {
  return directive.args.filter(({ values }) => values.length === 0).map(({ key }) => Number(key));
}

function firstId(directive: Directive): NodeId {
  return Number(directive.args[0]!.key);
}

function addNodes(group: RaftInteraction, directive: Directive): void {
  const value = (key: string): string | undefined => valuesOf(directive, key)?.[0];
  const flag = (key: string): boolean => value(key) === 'true';
  const ids = (key: string): NodeId[] => (valuesOf(directive, key) ?? []).map(Number);
  const index = Number(value('index') ?? 0);
  const confState = { ...EMPTY_CONF_STATE, voters: ids('voters'), learners: ids('learners') };
  const snapshot: Snapshot = {
    data: Buffer.from(value('content') ?? ''),
    metadata: { confState, index, term: index > 0 ? 1 : 0 },
  };
  const inflight = value('inflight');
  const committedSize = value('max-committed-size-per-ready');
  const uncommittedSize = value('max-uncommitted-size');
  const messageSize = value('max-size-per-message');
  const options: Partial<RaftConfig> = {
    applied: index,
    asyncStorageWrites: flag('async-storage-writes'),
    preVote: flag('prevote'),
    checkQuorum: flag('checkquorum'),
    disableConfChangeValidation: flag('disable-conf-change-validation'),
    disableProposalForwarding: flag('disable-proposal-forwarding'),
    stepDownOnRemoval: flag('step-down-on-removal'),
    readOnlyMode: value('read-only') === 'lease-based' ? 'lease-based' : 'safe',
    ...(inflight === undefined ? {} : { maxInflightMessages: Number(inflight) }),
    maxCommittedSizePerReadyBytes: Number(committedSize ?? Number.POSITIVE_INFINITY),
    ...(uncommittedSize === undefined ? {} : { maxUncommittedBytes: Number(uncommittedSize) }),
    ...(messageSize === undefined ? {} : { maxSizePerMessageBytes: Number(messageSize) }),
  };
  for (let i = 0; i < firstId(directive); i++) group.addMember(options, snapshot);
}

/** `load-log 1 term=6 vote=2 commit=1` with the terms of the entries below it. */
function loadLog(group: RaftInteraction, directive: Directive): void {
  const number = (key: string): number => Number(valuesOf(directive, key)?.[0] ?? 0);
  const terms = directive.input.trim().split(/\s+/).filter(Boolean).map(Number);
  const hardState = { term: number('term'), vote: number('vote'), commit: number('commit') };
  group.loadLog(firstId(directive), terms, hardState);
}

function reportSnapshot(group: RaftInteraction, directive: Directive): void {
  const [at, to, outcome] = directive.args.map(({ key }) => key);
  if (outcome !== 'delivered' && outcome !== 'failed') {
    throw new DirectiveError('report-snapshot FROM TO delivered|failed');
  }
  group.member(Number(at)).raw.reportSnapshot(Number(to), outcome);
}

function deliverMessages(group: RaftInteraction, directive: Directive): void {
  const name = valuesOf(directive, 'type')?.[0];
  const type = Object.entries(MESSAGE_NAMES).find(([, known]) => known === name)?.[0];
  const keep = valuesOf(directive, 'keep')?.[0] === 'true';
  let handled = 0;
  for (const { key, values } of directive.args) {
    const wanted = type as MessageType | undefined;
    if (values.length === 0) handled += group.deliver(Number(key), false, wanted, keep);
    if (key !== 'drop') continue;
    for (const id of values) handled += group.deliver(Number(id), true, wanted);
  }
  if (handled === 0) group.noMessages();
}

function proposeConfChange(group: RaftInteraction, directive: Directive): void {
  const changes = parseChanges(directive.input);
  const { raw } = group.member(firstId(directive));
  if (valuesOf(directive, 'v1')?.[0] === 'true') {
    const [first] = changes;
    raw.proposeConfChange(confChange(first!.type, first!.nodeId));
    return;
  }
  const transitions: Readonly<Record<string, ConfChangeTransition>> = {
    auto: 'auto',
    implicit: 'joint-implicit',
    explicit: 'joint-explicit',
  };
  const transition = transitions[valuesOf(directive, 'transition')?.[0] ?? 'auto'];
  raw.proposeConfChange(confChangeV2(changes, transition));
}

const HANDLERS: Readonly<Record<string, Handler>> = {
  'add-nodes': addNodes,
  campaign: (group, directive) => group.member(firstId(directive)).raw.campaign(),
  compact: (group, directive) => {
    const id = firstId(directive);
    if (!group.member(id).storage.compact(Number(directive.args[1]!.key))) {
      throw new DirectiveError('requested index is unavailable due to compaction');
    }
    group.printLog(id);
  },
  'deliver-msgs': deliverMessages,
  application: (group, directive) => group.printApplication(firstId(directive)),
  'forget-leader': (group, directive) => group.member(firstId(directive)).raw.forgetLeader(),
  'hard-state': (group, directive) => group.printHardState(firstId(directive)),
  'load-log': loadLog,
  'log-level': (group, directive) => group.setLogLevel(directive.args[0]!.key),
  'process-append-thread': (group, directive) =>
    group.forEach(idsOf(directive), 'processing append thread', (id) => group.processAppend(id)),
  'process-apply-thread': (group, directive) =>
    group.forEach(idsOf(directive), 'processing apply thread', (id) => group.processApply(id)),
  'process-ready': (group, directive) =>
    group.forEach(idsOf(directive), 'handling Ready', (id) => group.processReady(id)),
  propose: (group, directive) =>
    group.member(firstId(directive)).raw.propose(Buffer.from(directive.args[1]!.key)),
  'propose-batch': (group, directive) =>
    group
      .member(firstId(directive))
      .raw.proposeAll(directive.args.slice(1).map(({ key }) => Buffer.from(key))),
  'propose-conf-change': proposeConfChange,
  'raft-log': (group, directive) => group.printLog(firstId(directive)),
  'raft-state': (group) => group.printStates(),
  'read-index': (group, directive) =>
    group.member(firstId(directive)).raw.readIndex(Buffer.from(directive.args[1]!.key)),
  'report-snapshot': reportSnapshot,
  'report-unreachable': (group, directive) => {
    const [at, lost] = idsOf(directive);
    group.member(at!).raw.reportUnreachable(lost!);
  },
  restart: (group, directive) => group.restart(firstId(directive)),
  'send-snapshot': (group, directive) => {
    const [from, to] = idsOf(directive);
    group.sendSnapshot(from!, to!);
  },
  'set-randomized-election-timeout': (group, directive) => {
    const ticks = Number(valuesOf(directive, 'timeout')![0]);
    group.member(firstId(directive)).raw.overrideElectionTimeout(ticks);
  },
  stabilize: (group, directive) =>
    group.atLevel(valuesOf(directive, 'log-level')?.[0], () => group.stabilize(idsOf(directive))),
  status: (group, directive) => group.printStatus(firstId(directive)),
  tick: (group, directive) => {
    const { raw } = group.member(firstId(directive));
    for (let i = 0; i < Number(directive.args[1]?.key ?? 1); i++) raw.tick();
  },
  'tick-election': (group, directive) => {
    const { raw, config } = group.member(firstId(directive));
    for (let i = 0; i < config.electionTicks; i++) raw.tick();
  },
  'tick-heartbeat': (group, directive) => {
    const { raw, config } = group.member(firstId(directive));
    for (let i = 0; i < config.heartbeatTicks; i++) raw.tick();
  },
  'transfer-leadership': (group, directive) => {
    const from = Number(valuesOf(directive, 'from')![0]);
    group.member(from).raw.transferLeader(Number(valuesOf(directive, 'to')![0]));
  },
};
