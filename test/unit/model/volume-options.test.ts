import { describe, expect, test } from 'vitest';
import { parseVolumeOptions } from '../../../common/model/volume-options.ts';

const parse = (type: string, device: string, o?: string) =>
  parseVolumeOptions({ type, device, ...(o !== undefined && { o }) });

describe('options of the local volume driver', () => {
  test.each([
    ['tmpfs', 'tmpfs', 'size=10m,nosuid', { flags: 2, data: 'size=10m', host: null }],
    ['none', '/srv', 'bind,ro', { flags: 4097, data: '', host: null }],
    ['none', '/srv', 'rbind', { flags: 4096 | 16_384, data: '', host: null }],
    ['nfs', ':/a', 'addr=nas,rw,vers=4', { flags: 0, data: 'addr=nas,vers=4', host: 'nas' }],
    ['ext4', '/dev/sdb', undefined, { flags: 0, data: '', host: null }],
  ])('%s of %s with %s', (type, device, o, expected) => {
    expect(parse(type, device, o)).toEqual({ type, device, ...expected });
  });

  test('none are nothing to mount', () => expect(parseVolumeOptions({})).toBeNull());

  test.each([
    [{ colour: 'red' }, 'invalid option: "colour"'],
    [{ size: '1g' }, 'volume driver option size is not supported'],
    [{ o: 'bind' }, 'missing required option: "type"'],
    [{ type: 'tmpfs' }, 'missing required option: "device"'],
    [{ type: 'none', device: '/a' }, 'type=none and o=bind go together'],
    [{ type: 'ext4', device: '/a', o: 'bind' }, 'type=none and o=bind go together'],
    [{ type: 'none', device: 'a', o: 'bind' }, 'device=a: it is no absolute path'],
    [{ type: 'nfs', device: ':/a', o: 'rw' }, 'type=nfs needs o=addr=HOST'],
  ])('%j are refused', (options, words) => {
    expect(() => parseVolumeOptions(options as Record<string, string>)).toThrow(words);
  });
});
