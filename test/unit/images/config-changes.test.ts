import { describe, expect, test } from 'vitest';
import { changedConfig } from '../../../worker/images/config-changes.ts';

describe('changes of an image', () => {
  test.each([
    ['CMD ["/bin/sh","-c"]', { Cmd: ['/bin/sh', '-c'] }],
    ['cmd echo "hello world"', { Cmd: ['/bin/sh', '-c', 'echo "hello world"'] }],
    ['CMD [ -e /x ]', { Cmd: ['/bin/sh', '-c', '[ -e /x ]'] }],
    ['ENTRYPOINT ["/run"]', { Entrypoint: ['/run'] }],
    ['ENV A=2 B="x y" C=\'z z\'', { Env: ['OLD=1', 'A=2', 'B=x y', 'C=z z'] }],
    ['ENV OLD the rest of it', { Env: ['OLD=the rest of it'] }],
    ['EXPOSE 80 53/udp', { ExposedPorts: { '80/tcp': {}, '53/udp': {} } }],
    ['LABEL a=b "c d"=e', { Labels: { was: 'here', a: 'b', 'c d': 'e' } }],
    ['USER www:www', { User: 'www:www' }],
    ['VOLUME /a /b', { Volumes: { '/a': {}, '/b': {} } }],
    ['VOLUME ["/a b"]', { Volumes: { '/a b': {} } }],
    ['WORKDIR /srv/my app', { WorkingDir: '/srv/my app' }],
    ['STOPSIGNAL SIGINT', { StopSignal: 'SIGINT' }],
  ])('%s', (line, expected) => {
    const before = { Env: ['OLD=1'], Labels: { was: 'here' } };
    expect(changedConfig(before, [line])).toEqual({ ...before, ...expected });
  });

  test('go one after the other', () => {
    expect(changedConfig({}, ['ENV A=1', 'ENV A=2', 'ENV B=3'])).toEqual({ Env: ['A=2', 'B=3'] });
  });

  test.each([
    ['RUN make', 'unimplemented', 'RUN is none of CMD'],
    ['HEALTHCHECK NONE', 'unimplemented', 'HEALTHCHECK is none of'],
    ['', 'unimplemented', 'is none of'],
    ['USER', 'invalid-argument', 'USER requires an argument'],
    ['ENV A', 'invalid-argument', 'expected NAME=VALUE'],
    ['LABEL =x', 'invalid-argument', 'expected NAME=VALUE'],
    ['EXPOSE 80/icmp', 'invalid-argument', '80/icmp is no port'],
    ['EXPOSE 70000', 'invalid-argument', '70000 is no port'],
  ])('%j is refused', (line, code, words) => {
    expect(() => changedConfig({}, [line])).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(words) }),
    );
  });
});
