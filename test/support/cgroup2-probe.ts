/**
 * Runs containers with limits on this machine and prints what was seen, one JSON object. Started in
 * a VM whose kernel has every controller on cgroup v2 (test/support/cgroup2-vm).
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { hostFacts } from '../../worker/executor/host-facts.ts';
import { capabilitySet } from '../../worker/runtime/defaults.ts';
import type { OciResources, OciSpec } from '../../worker/runtime/oci.ts';
import { aContainerSpec, aTaskSpec } from './builders.ts';
import { type DiskReport, type NfsReport, probeDisk, probeNfs } from './cgroup2-disks.ts';
import { execResult, execSpec, RuntimeBox } from './runtime-box.ts';

const MIB = 1024 * 1024;

/** What runtime-cgroup2.test.ts reads. */
export interface Cgroup2Report {
  readonly controllers: string;
  readonly cores: number;
  readonly throttledPeriods: number;
  readonly cpuMax: string;
  readonly memoryMax: string;
  readonly swapMax: string;
  readonly oom: { exitCode: number; oomKilled: boolean };
  readonly pidsMax: string;
  readonly pids: number;
  readonly pidsLog: string;
  readonly devices: string;
  readonly exec: string;
  readonly cpuset: string;
  readonly cpuWeight: string;
  readonly memoryLow: string;
  readonly swappiness: string;
  readonly oomKillDisable: string;
  readonly pid1: string;
  readonly frozenNanos: number;
  readonly killedExitCode: number;
  readonly cgroupPath: string;
  readonly apparmor: ApparmorReport;
  readonly disk: DiskReport;
  /** or why there was none */
  readonly nfs: NfsReport | string;
  readonly leftovers: string[];
}

/** Of a container under a profile that forbids `/tmp/secret`. */
interface ApparmorReport {
  /** what the command and one beside it are under */
  readonly current: string;
  readonly besides: string;
  /** of the read that is forbidden, and of another */
  readonly denied: string;
  readonly allowed: string;
  /** mounting by one with the right to, under the profile for containers in general, and without it */
  readonly mounting: readonly string[];
  /** the node's choice where a task names none, before and after a profile for containers was loaded */
  readonly chosen: readonly (string | null)[];
  /** words of a profile that is not loaded: of the node, and of the shim */
  readonly refusals: readonly string[];
}

const TEST_PROFILE = '/run/skep-test.profile';
const TEST_RULES = 'file, capability, network, mount, signal, ptrace, unix, deny /tmp/secret r,';

async function probeApparmor(box: RuntimeBox): Promise<ApparmorReport> {
  const chosen = [await chosenProfile('default')];
  const flags = 'flags=(attach_disconnected,mediate_deleted)';
  writeFileSync(TEST_PROFILE, `profile skep-test ${flags} { ${TEST_RULES} }\n`);
  for (const file of [TEST_PROFILE, 'examples/apparmor/skep-default']) {
    const words = ['--config-file', '/dev/null', '--skip-cache', '--replace', file];
    const loaded = spawnSync('apparmor_parser', words, { encoding: 'utf8' });
    if (loaded.status !== 0) throw new Error(`apparmor_parser: ${loaded.error} ${loaded.stderr}`);
  }
  chosen.push(await chosenProfile('default'), await chosenProfile('custom', 'skep-test'));
  const under =
    (apparmorProfile: string) =>
    (spec: OciSpec): OciSpec => ({
      ...spec,
      process: { ...spec.process, apparmorProfile },
    });
  await box.run(
    'confined',
    'cat /proc/self/attr/current; echo no > /tmp/secret; cat /tmp/secret 2>&1; echo yes > /tmp/open; cat /tmp/open; sleep 1000',
    under('skep-test'),
  );
  while (!(await box.logText('confined')).includes('yes')) await sleep(100);
  const [current = '', denied = '', allowed = ''] = (await box.logText('confined')).split('\n');
  const session = await box.runtime.exec('confined', execSpec(['cat', '/proc/self/attr/current']));
  const besides = (await execResult(session)).stdout;
  const mounting: string[] = [];
  for (const profile of ['skep-default', 'unconfined']) {
    const script = 'mount -t tmpfs tmpfs /tmp 2>&1 && echo mounted';
    const { text } = await box.output(`mounting-${profile}`, script, (spec) =>
      mayMount(under(profile)(spec)),
    );
    mounting.push(text);
  }
  await box.create('none', ['true'], under('nobody-loaded-it'));
  const wordsOf = (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'taken',
      (err: Error) => err.message,
    );
  const refusals = [
    await wordsOf(chosenProfile('custom', 'nobody-loaded-it')),
    await wordsOf(box.runtime.startContainer('none')),
  ];
  return { current, besides, denied, allowed, mounting, chosen, refusals };
}

/** Neither rights nor seccomp keep it from mounting. */
function mayMount(spec: OciSpec): OciSpec {
  const { process } = spec;
  return {
    ...spec,
    process: { ...process, capabilities: capabilitySet(['CAP_SYS_ADMIN']) },
    linux: { ...spec.linux, seccomp: null },
  };
}

async function chosenProfile(mode: 'default' | 'custom', profile = ''): Promise<string | null> {
  const privileges = {
    noNewPrivileges: false,
    seccomp: { mode: 'default', profile: '' },
    apparmor: { mode, profile },
  } as const;
  const spec = aTaskSpec({ container: aContainerSpec({ privileges }) });
  return (await hostFacts(spec)).apparmorProfile;
}

function withResources(resources: Partial<OciResources>) {
  return (spec: OciSpec): OciSpec => ({
    ...spec,
    linux: { ...spec.linux, resources: { ...spec.linux.resources, ...resources } },
  });
}

async function probe(): Promise<Cgroup2Report> {
  const box = await RuntimeBox.open();
  const parent = `/sys/fs/cgroup/${box.cgroupParent}`;
  const control = (id: string, file: string): string =>
    readFileSync(`${parent}/${id}/${file}`, 'utf8').trim();
  const { runtime } = box;

  const quota = { cpu: { quota: 50_000, period: 100_000, shares: null } };
  await box.run('cpu', 'while :; do :; done', withResources(quota));
  await sleep(300);
  const before = await runtime.stats('cpu');
  const startedMs = performance.now();
  await sleep(5000);
  const after = await runtime.stats('cpu');
  const cores =
    Number(after.cpuUsageNanos - before.cpuUsageNanos) / 1e6 / (performance.now() - startedMs);
  const cpuMax = control('cpu', 'cpu.max');
  const throttledPeriods = after.throttledPeriods - before.throttledPeriods;
  await runtime.freeze('cpu');
  await sleep(500);
  const frozen = await runtime.stats('cpu');
  await sleep(1000);
  const frozenNanos = Number((await runtime.stats('cpu')).cpuUsageNanos - frozen.cpuUsageNanos);
  await runtime.killAll('cpu');
  const killedExitCode = (await runtime.wait('cpu')).exitCode;

  const limit = { memory: { limit: 64 * MIB, swap: null } };
  await box.run('oom', 'exec dd if=/dev/zero of=/dev/null bs=100M count=1', withResources(limit));
  const { exitCode, oomKilled } = await runtime.wait('oom');
  const memoryMax = control('oom', 'memory.max');
  const swapMax = existsSync(`${parent}/oom/memory.swap.max`)
    ? control('oom', 'memory.swap.max')
    : '0';

  const storm = 'i=0; while [ $i -lt 40 ]; do sleep 100 & i=$((i+1)); done';
  await box.run('pids', `(${storm}); sleep 100`, withResources({ pids: { limit: 20 } }));
  while (!(await box.logText('pids')).includes("can't fork")) await sleep(100);
  const pids = (await runtime.stats('pids')).pids;
  const pidsLog = await box.logText('pids');
  const pidsMax = control('pids', 'pids.max');
  await runtime.killAll('pids');

  const { text: devices } = await box.output(
    'devices',
    'exec 2>&1; echo x > /dev/null && echo null; mknod /k c 1 11 && cat /k; cat /proc/self/cgroup; ls /sys/fs/cgroup | wc -l',
  );
  const further = {
    cpu: { quota: null, period: 100_000, shares: 512, cpus: '0', mems: '0' },
    memory: { limit: null, swap: null, reservation: 32 * MIB },
  };
  await box.run('further', 'sleep 1000', withResources(further));
  const statusFile = `/proc/${runtime.get('further')?.pid}/status`;
  const cpuset = /Cpus_allowed_list:\t(.*)/.exec(readFileSync(statusFile, 'utf8'))?.[1] ?? '';
  const cpuWeight = control('further', 'cpu.weight');
  const memoryLow = control('further', 'memory.low');
  const swappiness = await box
    .create('swap', ['true'], withResources({ memory: { limit: null, swap: null, swappiness: 1 } }))
    .then(
      () => 'taken',
      (err: Error) => err.message,
    );
  const patient = { memory: { limit: null, swap: null, disableOomKiller: true } };
  const oomKillDisable = await box.create('patient', ['true'], withResources(patient)).then(
    () => 'taken',
    (err: Error) => err.message,
  );
  const apparmor = await probeApparmor(box);
  const disk = await probeDisk(box);
  const { text: pid1 } = await box.output('init', 'cat /proc/1/comm; tty', (spec) => ({
    ...spec,
    process: { ...spec.process, init: true, terminal: true },
  }));
  await box.run('exec', 'sleep 1000');
  const session = await runtime.exec('exec', execSpec(['cat', '/proc/self/cgroup']));
  const exec = (await execResult(session)).stdout;
  const cgroupPath = readFileSync(`/proc/${runtime.get('exec')?.pid}/cgroup`, 'utf8').trim();
  // Last: what a mount leaves behind that went wrong is nobody else's.
  const nfs = await probeNfs(box).catch((err: Error) => err.message);
  await box.close();
  return {
    controllers: readFileSync('/sys/fs/cgroup/cgroup.controllers', 'utf8').trim(),
    cores,
    throttledPeriods,
    cpuMax,
    memoryMax,
    swapMax,
    oom: { exitCode, oomKilled },
    pidsMax,
    pids,
    pidsLog,
    devices,
    exec,
    cpuset,
    cpuWeight,
    memoryLow,
    swappiness,
    oomKillDisable,
    apparmor,
    disk,
    nfs,
    pid1,
    frozenNanos,
    killedExitCode,
    cgroupPath,
    leftovers: readdirSync('/sys/fs/cgroup').filter((name) => name.startsWith('skep')),
  };
}

// The clock's timers do not keep a process alive; a daemon has its sockets for that.
const alive = setInterval(() => {}, 1000);
console.log(`report ${JSON.stringify(await probe())}`);
clearInterval(alive);
