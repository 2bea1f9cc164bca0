/**
 * What a container does with a block device whose use is limited, and with a volume of an NFS server, on a machine that has
 * the kernel's null block device, NFS server and client: the virtual machine of test/support/cgroup2-vm.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SystemClock } from '../../common/base/clock.ts';
import { silentLogger } from '../../common/base/log.ts';
import { SystemRandom } from '../../common/base/random.ts';
import type { OciSpec } from '../../worker/runtime/oci.ts';
import { VolumeStore } from '../../worker/volumes/volume-store.ts';
import type { RuntimeBox } from './runtime-box.ts';

export interface DiskReport {
  /** the group's files, of a container with all four throttles and a weight of 300 */
  readonly max: string;
  readonly weight: string;
  /** for the same 2 MiB, with a limit of 1 MB/s and without one */
  readonly limitedSeconds: number;
  readonly freeSeconds: number;
}

export interface NfsReport {
  readonly type: string;
  /** the server's file, which a container wrote in a volume of it */
  readonly written: string;
  readonly mountsAfter: number;
}

const DISK = '/dev/nullb0';
const WRITE = 'dd if=/dev/zero of=/dev/disk bs=64k count=32 oflag=direct 2>&1';
const ONE_MB = 1_000_000;

export async function probeDisk(box: RuntimeBox): Promise<DiskReport> {
  execFileSync('modprobe', ['null_blk']);
  const [major = 0, minor = 0] = readFileSync('/sys/block/nullb0/dev', 'utf8')
    .split(':')
    .map(Number);
  const rate = (value: number) => [{ major, minor, rate: value }];
  const withDisk =
    (blockIO: OciSpec['linux']['resources']['blockIO']) =>
    (spec: OciSpec): OciSpec => ({
      ...spec,
      linux: {
        ...spec.linux,
        devices: [
          ...spec.linux.devices,
          { type: 'b', path: '/dev/disk', major, minor, fileMode: 0o600, uid: 0, gid: 0 },
        ],
        resources: {
          ...spec.linux.resources,
          devices: [
            ...spec.linux.resources.devices,
            { allow: true, type: 'b', major, minor, access: 'rwm' },
          ],
          ...(blockIO && { blockIO }),
        },
      },
    });
  const secondsOf = async (id: string, change: (spec: OciSpec) => OciSpec): Promise<number> => {
    const beganMs = performance.now();
    const { exit, text } = await box.output(id, WRITE, change);
    if (exit.exitCode !== 0) throw new Error(`${DISK}: ${text}`);
    return (performance.now() - beganMs) / 1000;
  };
  const none = {
    throttleReadBpsDevice: [],
    throttleReadIOPSDevice: [],
    throttleWriteIOPSDevice: [],
  };
  const all = {
    weight: 300,
    throttleReadBpsDevice: rate(2 * ONE_MB),
    throttleWriteBpsDevice: rate(ONE_MB),
    throttleReadIOPSDevice: rate(30),
    throttleWriteIOPSDevice: rate(40),
  };
  await box.run('io', 'sleep 1000', withDisk(all));
  const control = (file: string): string =>
    readFileSync(`/sys/fs/cgroup/${box.cgroupParent}/io/${file}`, 'utf8').trim();
  const weight = ['io.weight', 'io.bfq.weight'].find((file) =>
    existsSync(`/sys/fs/cgroup/${box.cgroupParent}/io/${file}`),
  );
  const limited = { ...none, weight: null, throttleWriteBpsDevice: rate(ONE_MB) };
  return {
    max: control('io.max').replace(`${major}:${minor} `, ''),
    weight: weight ? control(weight) : '',
    freeSeconds: await secondsOf('io-free', withDisk(undefined)),
    limitedSeconds: await secondsOf('io-limited', withDisk(limited)),
  };
}

/**
 * What the server answers to whom is told to the kernel by hand: there is no mountd. It gives out no files for its first 10 s, in
 * which clients of an earlier life could claim theirs; whoever asks waits.
 */
function serve(exported: string): void {
  const until = 2147483647; // s since 1970
  const [noSubtreeCheck, rootOfAll, anyPort] = [0x400, 0x2000, 0x2]; // include/uapi/linux/nfsd/export.h
  execFileSync('modprobe', ['-a', 'nfsd', 'nfsv4']);
  execFileSync('mount', ['-t', 'nfsd', 'nfsd', '/proc/fs/nfsd']);
  const tell = (file: string, words: string): void => writeFileSync(file, `${words}\n`);
  tell('/proc/net/rpc/auth.unix.ip/channel', `nfsd 127.0.0.1 ${until} here`);
  const flags = noSubtreeCheck | rootOfAll | anyPort;
  tell('/proc/net/rpc/nfsd.export/channel', `here ${exported} ${until} ${flags} 65534 65534 0`);
  tell('/proc/net/rpc/nfsd.fh/channel', `here 1 \\x00000000 ${until} ${exported}`);
  tell('/proc/fs/nfsd/versions', '-2 -3 +4');
  tell('/proc/fs/nfsd/nfsv4leasetime', '10');
  tell('/proc/fs/nfsd/nfsv4gracetime', '10');
  tell('/proc/fs/nfsd/threads', '2');
}

export async function probeNfs(box: RuntimeBox): Promise<NfsReport> {
  const exported = join(box.dir, 'exported');
  mkdirSync(exported);
  serve(exported);
  const volumes = new VolumeStore({
    dir: join(box.dir, 'volumes'),
    ...{ clock: new SystemClock(), random: new SystemRandom(), log: silentLogger },
    tell: () => {},
  });
  await volumes.start();
  const options = {
    type: 'nfs',
    device: ':/',
    o: 'addr=127.0.0.1,vers=4.2,soft,timeo=100,retrans=3',
  };
  const common = { labels: {}, driver: '', options };
  const { mountpoint } = await volumes.create({ name: 'far', ...common });
  const mounts = (): string[] =>
    readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(` ${mountpoint} `));
  const bind = { type: 'bind', source: mountpoint, destination: '/far', options: ['rbind'] };
  let type = '';
  try {
    await volumes.acquire('nfs', 'far', { ...common, options: {}, populateFrom: null });
    await box.output('nfs', 'echo by the container > /far/file; sync', (spec) => ({
      ...spec,
      mounts: [...spec.mounts, bind],
    }));
    type = / - (\S+) /.exec(mounts()[0] ?? '')?.[1] ?? '';
  } finally {
    if (box.runtime.get('nfs')) await box.runtime.destroy('nfs');
    await volumes.release('nfs');
  }
  return {
    type,
    written: readFileSync(join(exported, 'file'), 'utf8').trim(),
    mountsAfter: mounts().length,
  };
}
