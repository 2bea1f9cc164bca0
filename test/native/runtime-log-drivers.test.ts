// Lines of containers on their way to real receivers: datagrams, streams, TLS; a receiver that is away for a while.

import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { defaultProcess, defaultSpec } from '../../worker/runtime/defaults.ts';
import { logSettingsOf } from '../../worker/runtime/logging/log-settings.ts';
import { ALL_LOGS, RuntimeBox, runtimeTestsCanRun } from '../support/runtime-box.ts';

const names = { containerName: 'web', imageId: 'sha256:12', imageName: 'image', command: 'sh' };
const source = { containerId: 'ab'.repeat(32), ...names, createdAtMs: 0, hostname: 'node', pid: 7 };

/** What arrives at a TCP port, for as long as it is open. */
async function receiver(
  port = 0,
): Promise<{ port: number; text: () => string; close: () => void }> {
  let text = '';
  const sockets = new Set<{ destroy: () => void }>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const close = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { port: (server.address() as AddressInfo).port, text: () => text, close };
}

describe.skipIf(!runtimeTestsCanRun)('native runtime: log drivers', () => {
  let box: RuntimeBox;
  let dir = '';
  beforeAll(async () => {
    box = await RuntimeBox.open();
    dir = mkdtempSync('/var/tmp/skep-logs-');
  });
  afterAll(async () => {
    await box.close();
    rmSync(dir, { recursive: true, force: true });
    expect(box.failures).toEqual([]);
  });

  async function run(id: string, script: string, name: string, options: Record<string, string>) {
    const subject = { ...source, name: 'web', labels: {}, env: [] };
    const settings = logSettingsOf({ name, options }, subject);
    const spec = defaultSpec([box.lower], defaultProcess(['sh', '-c', script]));
    await box.runtime.create(id, {
      spec,
      logMaxBytes: settings.maxBytes,
      logMaxFiles: settings.maxFiles,
      logging: { settings, source },
    });
    await box.runtime.startContainer(id);
  }

  test('none: nothing is written, and nothing can be read', async () => {
    await run('none', 'echo one; echo two >&2', 'none', {});
    expect(await box.runtime.wait('none')).toMatchObject({ exitCode: 0 });
    expect(existsSync(join(box.stateDir, 'none/log'))).toBe(false);
    expect(() => box.runtime.logs('none', ALL_LOGS)).toThrow(
      'configured logging driver does not support reading',
    );
  });

  test('json-file: the size and the number of files are held to', async () => {
    const options = { 'max-size': '4k', 'max-file': '2' };
    await run(
      'small',
      'i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); done',
      'json-file',
      options,
    );
    await box.runtime.wait('small');
    const sizes = ['log', 'log.1'].map(
      (name) => readFileSync(join(box.stateDir, 'small', name)).length,
    );
    expect(Math.max(...sizes)).toBeLessThanOrEqual(4096);
    expect(existsSync(join(box.stateDir, 'small/log.2'))).toBe(false);
    expect(await box.logText('small')).toMatch(/line 399$/);
  });

  test('syslog over TCP: each line arrives, and can be read here too', async () => {
    const syslog = await receiver();
    const address = `tcp://127.0.0.1:${syslog.port}`;
    try {
      await run('tcp', 'echo out; echo err >&2', 'syslog', { 'syslog-address': address, tag: 't' });
      await expect
        .poll(syslog.text)
        .toMatch(/^<30>\S+ node t\[7\]: out\n<27>\S+ node t\[7\]: err\n$/);
      expect(await box.logText('tcp')).toBe('out\nerr');
    } finally {
      syslog.close();
    }
  });

  test('a receiver that is away gets every line later, once each after a clean end of the daemon', async () => {
    const first = await receiver();
    const options = { 'syslog-address': `tcp://127.0.0.1:${first.port}`, tag: 't' };
    const script =
      'echo one; until [ -e /go ]; do sleep 0.05; done; echo two; until [ -e /on ]; do sleep 0.05; done; echo three';
    await run('away', script, 'syslog', options);
    await expect.poll(first.text).toMatch(/one\n$/);
    await box.runtime.stop();
    first.close();
    box.runtime = box.newRuntime();
    await box.runtime.start(); // nobody is there now
    const root = box.runtime.rootPath('away');
    spawn('touch', [join(root, 'go')]);
    await expect.poll(() => box.logText('away')).toMatch(/two$/);
    const second = await receiver(first.port);
    try {
      spawn('touch', [join(root, 'on')]);
      await expect.poll(second.text, { timeout: 15_000 }).toMatch(/three\n$/);
      expect(second.text().match(/one|two|three/g)).toEqual(['two', 'three']);
    } finally {
      second.close();
    }
  });

  test('the last lines of one that is removed at once still go', async () => {
    const syslog = await receiver();
    const options = { 'syslog-address': `tcp://127.0.0.1:${syslog.port}` };
    try {
      await run('brief', 'echo last words', 'syslog', options);
      await box.runtime.wait('brief');
      await box.runtime.remove('brief');
      await expect.poll(syslog.text).toMatch(/last words\n$/);
    } finally {
      syslog.close();
    }
  });

  test('a receiver that takes nothing holds up neither a removal nor the end of the daemon', async () => {
    const sockets: Socket[] = [];
    const server = createServer({ pauseOnConnect: true }, (socket) => void sockets.push(socket));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      // More than the buffers of both ends hold.
      await run(
        'deaf',
        'head -c 30000000 /dev/zero | tr "\\0" "x" | fold -w 1000; echo done; sleep 1000',
        'syslog',
        {
          'syslog-address': address,
        },
      );
      await expect
        .poll(() => box.logText('deaf', { tail: 1 }), { timeout: 30_000 })
        .toContain('done');
      await expect.poll(() => sockets.length).toBe(1);
      await box.runtime.killAll('deaf');
      const startMs = performance.now();
      await box.runtime.remove('deaf');
      expect(performance.now() - startMs).toBeLessThan(10_000);
    } finally {
      for (const socket of sockets) socket.destroy();
      server.close();
    }
  });

  test('syslog to a local datagram socket', async () => {
    const path = join(dir, 'dev-log');
    const words =
      'use Socket; socket(S, AF_UNIX, SOCK_DGRAM, 0) or die; bind(S, sockaddr_un($ARGV[0])) or die; ' +
      '$| = 1; print "ready\n"; my $m; while (recv(S, $m, 65536, 0), defined $m) { print "$m|\n"; }';
    const perl = spawn('perl', ['-e', words, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    perl.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    try {
      await expect.poll(() => text).toBe('ready\n');
      await run('local', 'echo to the host', 'syslog', { 'syslog-address': `unixgram://${path}` });
      await expect.poll(() => text).toMatch(/<30>\w+ .{11} abababababab\[7\]: to the host\|\n$/);
    } finally {
      perl.kill('SIGKILL');
    }
  });

  test('GELF over UDP, compressed and in chunks', async () => {
    const socket = createSocket('udp4');
    const datagrams: Buffer[] = [];
    socket.on('message', (message) => void datagrams.push(message));
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    const options = { 'gelf-address': `udp://127.0.0.1:${socket.address().port}` };
    try {
      await run('gelf', 'echo small', 'gelf', options);
      await expect.poll(() => datagrams.length).toBe(1);
      const whole = gunzipSync(datagrams[0]!);
      expect(JSON.parse(whole.toString())).toMatchObject({ short_message: 'small', level: 6 });
      const plain = { ...options, 'gelf-compression-type': 'none' };
      await run('gelf-long', 'head -c 3000 /dev/zero | tr "\\0" x; echo', 'gelf', plain);
      await expect.poll(() => datagrams.length).toBe(4);
      const parts = datagrams.slice(1).map((chunk) => chunk.subarray(12));
      expect(JSON.parse(Buffer.concat(parts).toString()).short_message).toHaveLength(3000);
    } finally {
      socket.close();
    }
  });
});
