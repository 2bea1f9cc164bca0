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
    ['ONBUILD RUN make', { OnBuild: ['RUN make'] }],
    ['HEALTHCHECK NONE', { Healthcheck: { Test: ['NONE'] } }],
    ['HEALTHCHECK CMD ["/probe","-q"]', { Healthcheck: { Test: ['CMD', '/probe', '-q'] } }],
    [
      'HEALTHCHECK --interval=1m30s --timeout=500ms --retries=2 CMD wget -q x || exit 1',
      {
        Healthcheck: {
          Test: ['CMD-SHELL', 'wget -q x || exit 1'],
          ...{ Interval: 90e9, Timeout: 5e8, Retries: 2 },
        },
      },
    ],
  ])('%s', (line, expected) => {
    const before = { Env: ['OLD=1'], Labels: { was: 'here' } };
    expect(changedConfig(before, [line])).toEqual({ ...before, ...expected });
  });

  test('go one after the other', () => {
    expect(changedConfig({}, ['ENV A=1', 'ENV A=2', 'ENV B=3'])).toEqual({ Env: ['A=2', 'B=3'] });
    const built = ['ONBUILD COPY . .', 'ONBUILD RUN make'];
    expect(changedConfig({}, built)).toEqual({ OnBuild: ['COPY . .', 'RUN make'] });
  });

  test.each([
    ['RUN make', 'unimplemented', 'RUN is none of CMD'],
    ['HEALTHCHECK', 'invalid-argument', 'HEALTHCHECK requires an argument'],
    ['HEALTHCHECK wget x', 'invalid-argument', 'neither NONE nor CMD'],
    ['HEALTHCHECK CMD', 'invalid-argument', 'neither NONE nor CMD'],
    ['HEALTHCHECK --interval=5 CMD x', 'invalid-argument', '--interval=5: no such setting'],
    ['HEALTHCHECK --often=5s CMD x', 'invalid-argument', '--often=5s: no such setting'],
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
