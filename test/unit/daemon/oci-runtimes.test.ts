import { describe, expect, test } from 'vitest';
import { nodeRuntimes } from '../../../daemon/oci-runtimes.ts';
import { runtimeName, runtimeOf } from '../../../worker/executor/oci-runtimes.ts';

const there =
  (...paths: string[]) =>
  (path: string) =>
    paths.includes(path);

describe('runtimes of a node', () => {
  test('are those that are added, and crun and runc where they are', () => {
    const exists = there('/usr/bin/crun', '/usr/sbin/runc', '/opt/youki', '/opt/runc');
    const found = nodeRuntimes({ added: [], defaultName: '' }, exists);
    expect(found).toEqual({
      defaultName: 'native',
      others: new Map([
        ['crun', '/usr/bin/crun'],
        ['runc', '/usr/sbin/runc'],
      ]),
    });
    const added = ['youki=/opt/youki', 'runc=/opt/runc'];
    const { defaultName, others } = nodeRuntimes({ added, defaultName: 'youki' }, exists);
    expect(defaultName).toBe('youki');
    expect(others.get('youki')).toBe('/opt/youki');
    expect(others.get('runc')).toBe('/opt/runc');
  });

  test.each([
    ['youki', '', 'expected NAME=/PATH'],
    ['youki=relative', '', 'expected NAME=/PATH'],
    ['youki=/opt/none', '', 'there is no program /opt/none'],
    ['native=/opt/youki', '', "'native' is our own"],
    ['youki=/opt/youki', 'kata', "specified default runtime 'kata' does not exist"],
  ])('%s with default "%s" is refused: %s', (text, defaultName, words) => {
    const make = (): unknown => nodeRuntimes({ added: [text], defaultName }, there('/opt/youki'));
    expect(make).toThrow(expect.objectContaining({ code: 'invalid-argument' }));
    expect(make).toThrow(words);
  });

  test.each(['/etc/passwd', '/etc'])('are programs, which %s is none of', (path) => {
    expect(() => nodeRuntimes({ added: [`other=${path}`], defaultName: '' })).toThrow(
      `there is no program ${path}`,
    );
  });

  test('are found by name, the default one where none is named', () => {
    const runtimes = { defaultName: 'crun', others: new Map([['crun', '/usr/bin/crun']]) };
    expect(runtimeOf('', runtimes)).toEqual({ name: 'crun', path: '/usr/bin/crun' });
    expect(runtimeOf('native', runtimes)).toBeNull();
    expect(runtimeName('', runtimes)).toBe('crun');
    expect(() => runtimeOf('kata', runtimes)).toThrow('unknown or invalid runtime name: kata');
  });
});
