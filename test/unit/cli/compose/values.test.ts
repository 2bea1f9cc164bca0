import { describe, expect, test } from 'vitest';
import { parseCsv } from '../../../../cli/compose/csv.ts';
import {
  normaliseCapabilities,
  parseEnvFile,
  parseExtraHost,
  parseUlimit,
} from '../../../../cli/compose/files.ts';
import { interpolate } from '../../../../cli/compose/interpolate.ts';
import { parseMountFlag, parseTmpfs } from '../../../../cli/compose/mounts.ts';
import { parseShortPorts } from '../../../../cli/compose/ports.ts';
import { editDistance, nearestWord, SourceText } from '../../../../cli/compose/problems.ts';
import { splitShellWords } from '../../../../cli/compose/shell-words.ts';
import {
  parseDurationNanos,
  parseNanoCpus,
  parseSizeBytes,
} from '../../../../cli/compose/values.ts';

describe('values', () => {
  test.each([
    ['0', 0],
    ['10s', 10e9],
    ['1m30s', 90e9],
    ['1.5h', 5400e9],
    ['500ms', 5e8],
    ['20us', 20_000],
    ['.5s', 5e8],
  ])('duration %s', (text, nanos) => expect(parseDurationNanos(text)).toBe(nanos));

  test.each(['', '5', '10 s', '-1s', '1x', 's', '1s2'])('no duration: %j', (text) => {
    expect(() => parseDurationNanos(text)).toThrow(/invalid duration/);
  });

  test.each([
    ['64M', 64 * 1024 ** 2],
    ['64mb', 64 * 1024 ** 2],
    ['1.5GiB', 1.5 * 1024 ** 3],
    ['100', 100],
    ['100b', 100],
  ])('size %s', (text, bytes) => expect(parseSizeBytes(text)).toBe(bytes));

  test.each(['', 'm', '1x', '-1m', '1 2'])('no size: %j', (text) => {
    expect(() => parseSizeBytes(text)).toThrow(/invalid size/);
  });

  test.each([
    ['0.5', 5e8],
    ['2', 2e9],
    ['.25', 25e7],
    ['0.000000001', 1],
  ])('%s CPUs', (text, nanos) => expect(parseNanoCpus(text)).toBe(nanos));

  test.each(['', 'one', '0.0000000001', '-1'])('no number of CPUs: %j', (text) => {
    expect(() => parseNanoCpus(text)).toThrow(/invalid number of CPUs/);
  });

  test.each([
    ['a b  c', ['a', 'b', 'c']],
    [`sh -c 'a "b"' "c 'd'"`, ['sh', '-c', 'a "b"', "c 'd'"]],
    ['a\\ b \\"', ['a b', '"']],
    [`"" ''x`, ['', 'x']],
    ['"a\\"b\\n"', ['a"b\\n']],
    ['', []],
  ])('words of %j', (text, words) => expect(splitShellWords(text)).toEqual(words));

  test('an unclosed quote is refused', () => {
    expect(() => splitShellWords("a 'b")).toThrow(/is not closed/);
  });

  test.each([
    ['80', [[undefined, 80, 'tcp']], null],
    ['8080:80/udp', [[8080, 80, 'udp']], null],
    [
      '8080-8081:80',
      [
        [8080, 80, 'tcp'],
        [8081, 80, 'tcp'],
      ],
      null,
    ],
    [
      '1-2:3-4',
      [
        [1, 3, 'tcp'],
        [2, 4, 'tcp'],
      ],
      null,
    ],
    [
      '1-2',
      [
        [undefined, 1, 'tcp'],
        [undefined, 2, 'tcp'],
      ],
      null,
    ],
    ['127.0.0.1:53:53/UDP', [[53, 53, 'udp']], '127.0.0.1'],
    [
      '127.0.0.1:5000-5001:6000-6001',
      [
        [5000, 6000, 'tcp'],
        [5001, 6001, 'tcp'],
      ],
      '127.0.0.1',
    ],
    ['10.0.0.100::53/udp', [[undefined, 53, 'udp']], '10.0.0.100'],
    ['[::1]:1:2', [[1, 2, 'tcp']], '[::1]'],
  ])('ports %s', (text, expected, address) => {
    const found = parseShortPorts(text);
    expect(found.ports.map((p) => [p.PublishedPort, p.TargetPort, p.Protocol])).toEqual(expected);
    expect(found.address).toBe(address);
  });

  test.each(['', 'x', '80:', '0:80', '80:65536', '2-1:80', '1-3:1-2', '80/icmp', 'a:b:c:d'])(
    'no ports: %j',
    (text) => expect(() => parseShortPorts(text)).toThrow(/invalid port/),
  );

  test.each([
    ['source=v,target=/d', { Type: 'volume', Source: 'v', Target: '/d' }],
    ['type=bind,src=/a,dst=/b,ro', { Type: 'bind', Source: '/a', Target: '/b', ReadOnly: true }],
    [
      'type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700',
      { Type: 'tmpfs', Target: '/t', TmpfsOptions: { SizeBytes: 1048576, Mode: 0o700 } },
    ],
    [
      'target=/d,volume-opt=a=b,volume-driver=nfs,type=volume',
      {
        Type: 'volume',
        Target: '/d',
        VolumeOptions: { DriverConfig: { Name: 'nfs', Options: { a: 'b' } } },
      },
    ],
    [
      'type=volume,"volume-label=a=b,c",target=/d',
      { Type: 'volume', Target: '/d', VolumeOptions: { Labels: { a: 'b,c' } } },
    ],
    [
      'type=bind,source=/a,target=/b,ro,bind-recursive=writable',
      {
        ...{ Type: 'bind', Source: '/a', Target: '/b', ReadOnly: true },
        BindOptions: { ReadOnlyNonRecursive: true },
      },
    ],
    [
      'type=bind,source=/a,target=/b,ro,bind-recursive=readonly',
      {
        ...{ Type: 'bind', Source: '/a', Target: '/b', ReadOnly: true },
        BindOptions: { ReadOnlyForceRecursive: true },
      },
    ],
  ])('mount %s', (text, mount) => expect(parseMountFlag(text)).toEqual(mount));

  const ofRun = { Type: 'tmpfs', Target: '/run' };
  test.each([
    ['/run', ofRun],
    ['/run:rw,noexec,nosuid,nodev', ofRun],
    ['/run:ro,noexec,size=64m', { ...ofRun, ReadOnly: true, TmpfsOptions: { SizeBytes: 2 ** 26 } }],
    ['/run:mode=01777', { ...ofRun, TmpfsOptions: { Mode: 0o1777 } }],
    ['/run:exec,uid=7', { ...ofRun, TmpfsOptions: { Options: [['exec'], ['uid', '7']] } }],
  ])('tmpfs %s', (text, mount) => expect(parseTmpfs(text)).toEqual(mount));

  test.each([
    [
      '/run:mpol=local',
      'invalid tmpfs option "mpol=local": there are size, mode, ro, rw, [no]suid',
    ],
    ['/run:mode=9', 'invalid tmpfs option "mode=9"'],
    ['/run:ro:rw', 'invalid tmpfs option "ro:rw"'],
  ])('no tmpfs: %s', (text, why) => expect(() => parseTmpfs(text)).toThrow(why));

  test.each([
    ['source=v', /target is required/],
    ['type=bind,source=a,target=/b', /absolute source/],
    ['type=npipe,target=/b', /type npipe is not supported/],
    ['target=/b,bind-propagation=shared', /does not fit a mount of type volume/],
    ['type=bind,source=/a,target=/b,bind-recursive=no', /bind-recursive is one of enabled,/],
    ['target=/b,colour=red', /unknown field colour/],
    ['target=', /is empty/],
    ['a,"b', /not closed/],
  ])('no mount: %s', (text, why) => expect(() => parseMountFlag(text)).toThrow(why));

  test('fields may be quoted', () => {
    expect(parseCsv('A=1,"b=c,d",e')).toEqual([
      { key: 'a', value: '1' },
      { key: 'b', value: 'c,d' },
      { key: 'e', value: null },
    ]);
  });

  test('a file of variables: comments, names alone, no quotes', () => {
    const text = '\uFEFF# c\n\n  A=1\nB="q"\r\nHERE\nGONE\nE=\n';
    expect(parseEnvFile(text, 'f', { HERE: 'x' })).toEqual([
      ['A', '1'],
      ['B', '"q"'],
      ['HERE', 'x'],
      ['E', ''],
    ]);
    expect(() => parseEnvFile('A=1\nB C=2', 'f.env', {})).toThrow(/f.env:2/);
  });

  test('hosts, limits, capabilities', () => {
    expect(parseExtraHost('db:10.0.0.1')).toBe('10.0.0.1 db');
    expect(parseExtraHost('db=[::1]')).toBe('::1 db');
    expect(() => parseExtraHost('db')).toThrow(/expected NAME:ADDRESS/);
    expect(parseUlimit('nofile=1:2')).toEqual({ Name: 'nofile', Soft: 1, Hard: 2 });
    expect(parseUlimit('core=-1')).toEqual({ Name: 'core', Soft: -1, Hard: -1 });
    expect(() => parseUlimit('nofile=3:2')).toThrow(/soft above hard/);
    expect(normaliseCapabilities(['net_admin', 'CAP_NET_ADMIN', 'all'])).toEqual([
      'ALL',
      'CAP_NET_ADMIN',
    ]);
  });
});

describe('variables', () => {
  const env = { A: 'a', EMPTY: '' };

  test.each([
    ['$A-$$A', 'a-$A'],
    ['\u0024{A}b', 'ab'],
    ['\u0024{NO}', ''],
    ['\u0024{NO:-d} \u0024{EMPTY:-d} \u0024{EMPTY-d}', 'd d '],
    ['\u0024{NO:-\u0024{A}x}', 'ax'],
    ['\u0024{A:+yes}\u0024{EMPTY:+no}\u0024{EMPTY+yes}', 'yesyes'],
    ['\u0024{A:?m}', 'a'],
    ['no variables', 'no variables'],
  ])('%s', (text, expected) => expect(interpolate(text, env)).toBe(expected));

  test.each([
    ['\u0024{NO?}', /required variable NO is missing a value$/],
    ['\u0024{EMPTY:?give it}', /required variable EMPTY is missing a value: give it$/],
    ['\u0024{A', /invalid interpolation format/],
    ['$', /invalid interpolation format/],
    ['$1', /you may need to escape/],
    ['\u0024{A!}', /invalid interpolation format/],
  ])('%s is refused', (text, why) => expect(() => interpolate(text, env)).toThrow(why));
});

describe('near words', () => {
  test.each([
    ['replica', 'replicas'],
    ['enviroment', 'environment'],
    ['pots', 'ports'],
    ['comand', 'command'],
    ['env', 'environment'],
    ['alias', 'aliases'],
    ['vol', 'volumes'],
    ['vo', null],
    ['colour', null],
  ])('%s', (word, near) => {
    const known = ['replicas', 'environment', 'ports', 'command', 'volumes', 'aliases'];
    expect(nearestWord(word, known)).toBe(near);
  });

  test('swapped neighbours are one mistake', () => {
    expect(editDistance('prots', 'ports')).toBe(1);
    expect(editDistance('', 'abc')).toBe(3);
  });

  test('places are counted from one, lines end before their newline', () => {
    const source = new SourceText('f', 'ab\r\n\ncd');
    expect(source.position(0)).toEqual({ line: 1, column: 1 });
    expect(source.position(5)).toEqual({ line: 3, column: 1 });
    expect(source.position(7)).toEqual({ line: 3, column: 3 });
    expect([source.line(1), source.line(2), source.line(3)]).toEqual(['ab', '', 'cd']);
  });
});
