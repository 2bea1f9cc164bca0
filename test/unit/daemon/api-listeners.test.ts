import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { listenAt, passedSockets } from '../../../daemon/api-listeners.ts';

const PID = 42;

describe('sockets passed by systemd', () => {
  test.each([
    [{ LISTEN_PID: '42', LISTEN_FDS: '2' }, [3, 4], ['', '']],
    [{ LISTEN_PID: '42', LISTEN_FDS: '2', LISTEN_FDNAMES: 'api:tcp' }, [3, 4], ['api', 'tcp']],
    [{ LISTEN_PID: '41', LISTEN_FDS: '2' }, [], []],
    [{ LISTEN_PID: '42', LISTEN_FDS: 'x' }, [], []],
    [{}, [], []],
  ])('%j are descriptors %j', (env, fds, names) => {
    const passed = passedSockets(env, PID);
    expect(passed.map(({ fd }) => fd)).toEqual(fds);
    expect(passed.map(({ name }) => name)).toEqual(names);
  });

  test('that are not there are named', async () => {
    const host = {
      kind: 'fd',
      which: 'api',
      security: { kind: 'plain' },
      mayBeOpen: false,
    } as const;
    const options = {
      server: { listen: async () => {} },
      ...{ group: '', socketMode: 0o660, passed: [{ fd: 3, name: 'web' }], log: silentLogger },
    };
    await expect(listenAt(host, options)).rejects.toThrow(
      '--host fd://api: no such socket was passed to this process; there are: 3 (web)',
    );
    await expect(listenAt(host, { ...options, passed: [] })).rejects.toThrow('there is none');
  });
});

describe('the path of a unix socket', () => {
  test('at which another daemon answers is left to it; what one left behind is replaced', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'skep-listeners-'));
    const path = join(dir, 'docker.sock');
    const other = createServer();
    const places: unknown[] = [];
    const options = {
      server: {
        listen: async (place: unknown) => {
          places.push(place);
          await writeFile(path, '');
        },
      },
      ...{ group: '', socketMode: 0o660, passed: [], log: silentLogger },
    };
    try {
      await new Promise<void>((resolve) => other.listen(path, resolve));
      await expect(listenAt({ kind: 'unix', path }, options)).rejects.toThrow(
        `serve the API at unix://${path}: another daemon serves there`,
      );
      expect([places, other.listening]).toEqual([[], true]);
      await new Promise((resolve) => other.close(resolve));
      await writeFile(path, 'left');
      await listenAt({ kind: 'unix', path }, options);
      expect(places).toEqual([{ path }]);
    } finally {
      other.close();
      await rm(dir, { recursive: true, force: true });
    }
  });
});
