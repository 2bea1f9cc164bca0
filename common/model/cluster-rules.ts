/** What a cluster's settings must obey: Swarm's limits, and a least heartbeat period. */
import { X509Certificate } from 'node:crypto';
import { BlockList, isIP } from 'node:net';
import { SkepError } from '../base/errors.ts';
import {
  type Cluster,
  type ClusterSpec,
  DISPATCHER_HEARTBEAT_NANOS_MIN,
  type ExternalCa,
} from './cluster.ts';
import { checkLogDriver } from './log-driver.ts';
import { checkSize } from './spec-size.ts';

const CLUSTER_NAME = 'default';
const CERT_EXPIRY_NANOS_MIN = 3600 * 1e9;
const CERT_EXPIRY_NANOS_MAX = 20 * 365 * 24 * 3600 * 1e9;
/** A minute: nothing can be written meanwhile. */
const ELECTION_TICKS_MAX = 600;
const SUBNET_SIZE_MAX = 29;
const DATA_PATH_PORT_MIN = 1024;
const DATA_PATH_PORT_MAX = 49_151;

/** Throws `invalid-argument`; `unimplemented` for what is not done. */
export function checkClusterSpec(spec: ClusterSpec): void {
  if (spec.name !== CLUSTER_NAME) throw invalid(`swarm spec must be named "${CLUSTER_NAME}"`);
  if (spec.dispatcherHeartbeatNanos < 0) {
    throw invalid('heartbeat time period cannot be a negative duration');
  }
  if (spec.dispatcherHeartbeatNanos < DISPATCHER_HEARTBEAT_NANOS_MIN) {
    throw invalid(
      `heartbeat time period (Dispatcher.HeartbeatPeriod) is ${spec.dispatcherHeartbeatNanos} ns: it must be at least ${DISPATCHER_HEARTBEAT_NANOS_MIN} ns (500ms)`,
    );
  }
  if (spec.nodeCertExpiryNanos < CERT_EXPIRY_NANOS_MIN) {
    throw invalid('minimum certificate expiry time is: 1h0m0s');
  }
  if (!(spec.nodeCertExpiryNanos <= CERT_EXPIRY_NANOS_MAX)) {
    throw invalid(
      'maximum certificate expiry time is: 175200h0m0s (20 years, as long as a root lasts)',
    );
  }
  if (!Number.isSafeInteger(spec.forceRotate) || spec.forceRotate < 0) {
    throw invalid(`CAConfig.ForceRotate: ${spec.forceRotate} is not a whole number from 0 on`);
  }
  checkSize('cluster: spec', spec);
  for (const [i, ca] of spec.externalCas.entries()) {
    checkExternalCa(ca, `CAConfig.ExternalCAs[${i}]`);
  }
  if (spec.taskLogDriver) checkLogDriver(spec.taskLogDriver);
  const { raft } = spec;
  const counts = { ...raft, taskHistoryLimit: spec.taskHistoryLimit };
  for (const [field, value] of Object.entries(counts)) {
    if (!Number.isSafeInteger(value)) throw invalid(`${field}: ${value} is not an integer`);
  }
  if (raft.snapshotInterval < 1) throw invalid('raft snapshot interval must be at least 1');
  if (raft.keepOldSnapshots < 0 || raft.logEntriesForSlowFollowers < 0) {
    throw invalid('raft snapshots and log entries to keep cannot be negative');
  }
  if (raft.heartbeatTicks < 1 || raft.electionTicks <= raft.heartbeatTicks) {
    throw invalid(
      'raft election tick must be greater than its heartbeat tick, which is at least 1',
    );
  }
  if (raft.electionTicks > ELECTION_TICKS_MAX) {
    throw invalid(
      `raft election tick ${raft.electionTicks} exceeds ${ELECTION_TICKS_MAX}: so long would nobody lead after the loss of a leader, in tenths of a second`,
    );
  }
}

function checkExternalCa({ url, options, certPem }: ExternalCa, at: string): void {
  if (!URL.canParse(url) || new URL(url).protocol !== 'https:') {
    throw invalid(`${at}.URL: ${JSON.stringify(url)} is not an https URL`);
  }
  const [option] = Object.keys(options);
  if (option !== undefined) {
    throw invalid(`${at}.Options.${option}: the protocol cfssl has no options`);
  }
  if (certPem === '') return;
  try {
    new X509Certificate(certPem);
  } catch {
    throw invalid(`${at}.CACert: it is no certificate in PEM`);
  }
}

/** What can only be chosen when a cluster is made. Throws `invalid-argument`. */
export function checkAddressing(
  addressing: Pick<Cluster, 'defaultAddressPool' | 'subnetSize' | 'dataPathPort'>,
): void {
  const { defaultAddressPool, subnetSize, dataPathPort } = addressing;
  if (defaultAddressPool.length === 0) throw invalid('default address pool: none is given');
  const seen = new BlockList();
  for (const pool of defaultAddressPool) {
    const { base, prefix } = parsePool(pool);
    if (subnetSize < prefix || subnetSize > SUBNET_SIZE_MAX) {
      throw invalid(
        `default address pool ${pool}: subnet size ${subnetSize} is not in ${prefix}..${SUBNET_SIZE_MAX}`,
      );
    }
    if (seen.check(base)) throw invalid(`default address pool ${pool}: it overlaps another`);
    seen.addSubnet(base, prefix, 'ipv4');
  }
  if (
    !Number.isInteger(dataPathPort) ||
    dataPathPort < DATA_PATH_PORT_MIN ||
    dataPathPort > DATA_PATH_PORT_MAX
  ) {
    throw invalid(
      `data path port ${dataPathPort} is not in ${DATA_PATH_PORT_MIN}..${DATA_PATH_PORT_MAX}`,
    );
  }
}

function parsePool(pool: string): { base: string; prefix: number } {
  const [base = '', prefixText = ''] = pool.split('/');
  const prefix = Number(prefixText);
  if (isIP(base) !== 4 || !/^\d{1,2}$/.test(prefixText) || prefix > 32) {
    throw invalid(`default address pool ${pool}: not an IPv4 subnet in CIDR notation`);
  }
  return { base, prefix };
}

function invalid(message: string): SkepError {
  return new SkepError('invalid-argument', message);
}
