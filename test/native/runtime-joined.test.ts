// Namespaces of one container that another one has as well: process ids, IPC with its shared memory.
import { existsSync, readlinkSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { OciSpec } from '../../worker/runtime/oci.ts';
import { programPath } from '../support/programs.ts';
import { execResult, execSpec, RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

/** Both namespaces of the container whose init is `pid`, and what it has at /dev/shm. */
function joining(pid: number) {
  return (spec: OciSpec): OciSpec => ({
    ...spec,
    mounts: spec.mounts.map((mount) =>
      mount.destination === '/dev/shm'
        ? {
            ...{ destination: '/dev/shm', type: 'bind', source: '/dev/shm', options: [] },
            sourceNamespace: `/proc/${pid}/ns/mnt`,
          }
        : mount,
    ),
    linux: {
      ...spec.linux,
      namespaces: spec.linux.namespaces.map((one) =>
        one.type === 'pid' || one.type === 'ipc'
          ? { ...one, path: `/proc/${pid}/ns/${one.type}` }
          : one,
      ),
    },
  });
}

const OURS = 'our own shim';

describe.skipIf(!runtimeTestsCanRun).each([OURS, 'crun', 'runc'])(
  'joined namespaces by %s',
  (name) => {
    const path = name === OURS ? null : programPath(name);
    const testIf = test.skipIf(name !== OURS && path === null);
    let box: RuntimeBox;
    beforeAll(async () => {
      box = await RuntimeBox.open();
      symlinkSync('busybox', join(box.lower, 'bin/pidof'));
      if (path !== null) box.ociRuntime = { name, path };
    });
    afterAll(async () => {
      await box.close();
      expect(box.failures).toEqual([]);
    });

    testIf('are those of the other container, in commands beside it too', async () => {
      const donor = await box.run('donor', 'echo shared > /dev/shm/words; exec sleep 12345');
      await expect.poll(() => existsSync(`/proc/${donor.pid}/root/dev/shm/words`)).toBe(true);
      const joined = await box.run(
        'guest',
        'cat /dev/shm/words; echo back > /dev/shm/answer; exec sleep 23456',
        joining(donor.pid),
      );
      for (const type of ['pid', 'ipc']) {
        const of = (pid: number): string => readlinkSync(`/proc/${pid}/ns/${type}`);
        expect(of(joined.pid)).toBe(of(donor.pid));
        expect(of(joined.pid)).not.toBe(readlinkSync(`/proc/self/ns/${type}`));
      }
      await expect.poll(() => box.logText('guest')).toBe('shared');
      const inside = await execResult(
        await box.runtime.exec(
          'guest',
          execSpec(['sh', '-c', 'cat /proc/1/cmdline | tr "\\0" " "; ps']),
        ),
      );
      expect(inside.stdout).toMatch(/^sleep 12345/);
      expect(inside.stdout).toContain('sleep 23456');
      const donors = await execResult(
        await box.runtime.exec('donor', execSpec(['cat', '/dev/shm/answer'])),
      );
      expect(donors.stdout).toBe('back\n');
      // Its own root is its own.
      expect(existsSync(`/proc/${joined.pid}/root/dev/shm/words`)).toBe(true);
      expect(readlinkSync(`/proc/${joined.pid}/ns/mnt`)).not.toBe(
        readlinkSync(`/proc/${donor.pid}/ns/mnt`),
      );
      await box.runtime.killAll('guest');
      expect(box.runtime.get('donor')).toMatchObject({ status: 'running' });
      await box.runtime.killAll('donor');
    });

    testIf('what a guest left running ends with it, and it ends with its host', async () => {
      const donor = await box.run('host', 'exec sleep 1000');
      const words = '(sleep 34567 &); (sleep 34567 &); exec sleep 0.2';
      await box.run('leaves', words, joining(donor.pid));
      expect(await box.runtime.wait('leaves')).toMatchObject({ exitCode: 0 });
      await expect
        .poll(
          async () => (await execResult(await box.runtime.exec('host', execSpec(['ps'])))).stdout,
        )
        .not.toContain('34567');
      await box.run('stays', 'exec sleep 1000', joining(donor.pid));
      await box.runtime.killAll('host');
      expect(await box.runtime.wait('stays')).toMatchObject({ exitCode: 137, signal: 9 });
    });

    testIf('of a container that is gone, are told by their path', async () => {
      const { pid } = await box.run('gone', 'sleep 1000');
      await box.runtime.killAll('gone');
      await expect(box.create('late', ['true'], joining(pid))).rejects.toThrow(`/proc/${pid}/ns/`);
      expect(box.runtime.get('late')).toBeUndefined();
    });
  },
);
