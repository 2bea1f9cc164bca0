import { describe, expect, test } from 'vitest';
import {
  checkLogDriver,
  logDriverInForce,
  parseLogAddress,
} from '../../../common/model/log-driver.ts';
import {
  gelfChunks,
  gelfMessage,
  type LogSource,
  syslogMessage,
} from '../../../worker/runtime/logging/log-lines.ts';
import { isSent, logSettingsOf } from '../../../worker/runtime/logging/log-settings.ts';

const subject = {
  containerId: 'abcdef0123456789'.repeat(4),
  name: 'web.1.xyz',
  imageId: `sha256:${'12'.repeat(32)}`,
  imageName: 'nginx:1',
  command: 'nginx -g x',
  labels: { tier: 'front', secret: 's' },
  env: ['ZONE=a', 'OTHER=b'],
  hostname: 'node-1',
};
const settings = (name: string, options: Record<string, string> = {}) =>
  logSettingsOf({ name, options }, subject);
const source: LogSource = {
  ...{ containerId: subject.containerId, containerName: subject.name, createdAtMs: 0 },
  ...{ imageId: subject.imageId, imageName: 'nginx:1', command: 'nginx -g x' },
  ...{ hostname: 'node-1', pid: 7 },
};
const record = (text: string, stream: 'stdout' | 'stderr' = 'stdout') => ({
  timeNanos: 1_782_000_009_123_456_789n, // 2026-06-21T00:00:09.123456789Z
  stream,
  data: Buffer.from(text),
});

describe('log drivers', () => {
  test.each([
    ['splunk', {}, 'log driver "splunk" is not supported: there are json-file'],
    ['json-file', { 'max-siz': '1m' }, "unknown log opt 'max-siz' for json-file log driver"],
    ['json-file', { 'max-size': 'big' }, 'log opt max-size=big is invalid'],
    ['json-file', { 'max-size': '1m', 'max-file': '0' }, 'log opt max-file=0 is invalid'],
    ['json-file', { 'max-file': '3' }, "set log opt 'max-size' too"],
    ['json-file', { compress: 'true' }, 'log opt compress=true is not supported'],
    ['json-file', { 'labels-regex': '(' }, 'log opt labels-regex=( is invalid'],
    ['json-file', { __proto__: null, constructor: 'x' }, "unknown log opt 'constructor'"],
    ['none', { tag: 'x' }, "unknown log opt 'tag' for none log driver"],
    ['', { colour: 'x' }, "unknown log opt 'colour' for any log driver"],
    ['', { 'max-size': 'big' }, 'log opt max-size=big is invalid'],
    ['syslog', { 'syslog-address': 'http://a' }, 'log opt syslog-address=http://a is invalid'],
    ['syslog', { 'syslog-facility': 'mars' }, 'log opt syslog-facility=mars is invalid'],
    ['syslog', { 'syslog-format': 'rfc1' }, 'log opt syslog-format=rfc1 is invalid'],
    ['gelf', {}, 'gelf-address is a required parameter'],
    ['gelf', { 'gelf-address': 'unix:///x' }, 'log opt gelf-address=unix:///x is invalid'],
    ['gelf', { 'gelf-address': 'udp://a:1', mode: 'lazy' }, 'log opt mode=lazy is invalid'],
  ])('%s with %j is refused by name', (name, options, words) => {
    expect(() => checkLogDriver({ name, options: options as Record<string, string> })).toThrow(
      words,
    );
  });

  test.each([
    ['syslog', 'udp://10.0.0.1', { kind: 'udp', host: '10.0.0.1', port: 514 }],
    ['syslog', 'tcp+tls://logs.example:6514', { kind: 'tls', host: 'logs.example', port: 6514 }],
    ['syslog', 'tcp://[fd00::1]:1514', { kind: 'tcp', host: 'fd00::1', port: 1514 }],
    ['syslog', 'unixgram:///dev/log', { kind: 'unixgram', path: '/dev/log' }],
    ['gelf', 'udp://graylog', { kind: 'udp', host: 'graylog', port: 12_201 }],
    ['gelf', 'tcp+tls://graylog', null],
    ['gelf', 'tls://graylog', null],
    ['syslog', 'tls://logs.example', null],
    ['syslog', 'constructor://logs.example', null],
    ['syslog', 'tcp://a:70000', null],
    ['syslog', 'unix://relative', null],
  ] as const)('%s at %s', (driver, text, expected) => {
    expect(parseLogAddress(driver, text)).toEqual(expected);
  });

  test('may have options without a name, which the node’s driver takes', () => {
    const own = { name: '', options: { 'max-size': '1m', tag: 'x' } };
    expect(() => checkLogDriver(own)).not.toThrow();
    const ofNode = { name: 'json-file', options: { 'max-size': '2m', 'max-file': '5' } };
    const sum = { name: 'json-file', options: { 'max-size': '1m', 'max-file': '5', tag: 'x' } };
    expect(logDriverInForce(own, ofNode)).toEqual(sum);
    expect(logDriverInForce({ ...own, name: 'json-file' }, ofNode)).toEqual(sum);
    expect(logDriverInForce({ ...own, name: 'syslog' }, ofNode).options).toEqual(own.options);
    expect(logDriverInForce(null, ofNode)).toEqual(ofNode);
  });

  test('say how much is kept here', () => {
    const mib = 2 ** 20;
    expect(settings('json-file')).toMatchObject({
      maxBytes: 10 * mib,
      maxFiles: 3,
      isReadable: true,
    });
    expect(settings('local', { 'max-size': '1.5k', 'max-file': '7' })).toMatchObject({
      maxBytes: 1536,
      maxFiles: 7,
    });
    expect(settings('json-file', { 'max-size': '-1' })).toMatchObject({ maxBytes: 0 });
    expect(settings('none')).toMatchObject({ maxFiles: 0, isReadable: false });
    expect(settings('syslog')).toMatchObject({ maxBytes: 20 * mib, maxFiles: 5, isReadable: true });
    expect(settings('syslog', { 'cache-disabled': 'true' })).toMatchObject({ isReadable: false });
    expect(['json-file', 'none', 'syslog'].map((name) => isSent(settings(name)))).toEqual([
      ...[false, false, true],
    ]);
  });

  test('lines carry a tag, labels and variables', () => {
    expect(settings('syslog').tag).toBe('abcdef012345');
    const all = { tag: '{{.Name}}/{{.ImageName}}/{{.ImageID}}/{{.Command}}', labels: 'tier,none' };
    expect(settings('json-file', { ...all, 'env-regex': '^Z', env: 'OTHER' })).toMatchObject({
      tag: 'web.1.xyz/nginx:1/121212121212/nginx -g x',
      attributes: { tier: 'front', ZONE: 'a', OTHER: 'b', tag: expect.stringMatching(/^web/) },
    });
    expect(() => settings('syslog', { tag: '{{.Nothing}}' })).toThrow('log opt tag={{.Nothing}}');
  });
});

describe('syslog messages', () => {
  const message = (options: Record<string, string>, isLocal = false, text = 'hello\n') =>
    syslogMessage(
      record(text, isLocal ? 'stderr' : 'stdout'),
      settings('syslog', options),
      source,
      isLocal,
    );

  test.each([
    [{}, '<30>2026-06-21T00:00:09Z node-1 abcdef012345[7]: hello'],
    [{ 'syslog-format': 'rfc3164', tag: 't' }, '<30>Jun 21 00:00:09 node-1 t[7]: hello'],
    [
      { 'syslog-format': 'rfc5424', tag: 't', 'syslog-facility': 'local3' },
      '<158>1 2026-06-21T00:00:09Z node-1 t 7 t - hello',
    ],
    [
      { 'syslog-format': 'rfc5424micro', tag: 't', 'syslog-facility': '0' },
      '<6>1 2026-06-21T00:00:09.123456Z node-1 t 7 t - hello',
    ],
  ])('with %j', (options, expected) => {
    expect(message(options as Record<string, string>)).toBe(expected);
  });

  test('a local one names no host; stderr is an error', () => {
    expect(message({ tag: 't' }, true)).toBe('<27>Jun 21 00:00:09 t[7]: hello');
  });
});

describe('GELF messages', () => {
  test('have what Graylog wants, and the attributes', () => {
    const options = { 'gelf-address': 'udp://a', labels: 'tier' };
    const text = gelfMessage(record('größe\r\n', 'stderr'), settings('gelf', options), source);
    expect(JSON.parse(text)).toEqual({
      version: '1.1',
      host: 'node-1',
      short_message: 'größe',
      timestamp: 1_782_000_009.123,
      level: 3,
      _command: 'nginx -g x',
      _container_id: subject.containerId,
      _container_name: 'web.1.xyz',
      _created: '1970-01-01T00:00:00.000Z',
      _image_id: subject.imageId,
      _image_name: 'nginx:1',
      _tag: 'abcdef012345',
      _tier: 'front',
    });
  });

  test('go in one datagram or in numbered chunks, up to 128', () => {
    const id = Buffer.from('12345678');
    expect(gelfChunks(Buffer.alloc(1420), id)).toHaveLength(1);
    const chunks = gelfChunks(Buffer.alloc(3000, 7), id);
    expect(chunks.map((chunk) => [...chunk.subarray(10, 12)])).toEqual([
      ...[
        [0, 3],
        [1, 3],
        [2, 3],
      ],
    ]);
    expect(chunks[1]?.subarray(0, 2).toString('hex')).toBe('1e0f');
    expect(Buffer.concat(chunks.map((chunk) => chunk.subarray(12)))).toEqual(Buffer.alloc(3000, 7));
    expect(gelfChunks(Buffer.alloc(1408 * 128 + 1), id)).toEqual([]);
  });
});
