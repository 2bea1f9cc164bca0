import { expect, test } from 'vitest';
import { addContainerRoutes } from '../../../daemon/engineapi/containers.ts';
import type { RequestContext } from '../../../daemon/engineapi/http-context.ts';
import type { Routes } from '../../../daemon/engineapi/server.ts';
import type { ContainerInfo, ContainerView } from '../../../worker/container-view.ts';
import { aContainerInfo } from '../../support/container-info.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const anInfo = (name: string, runs: boolean): ContainerInfo =>
  aContainerInfo({ name, condition: runs ? 'running' : 'exited', pid: runs ? 7 : 0 });

const PATHS = { hosts: '/n/c/hosts', hostname: '/n/c/hostname', resolvConf: '' };

async function answerTo(
  path: string,
  query: string,
  { running = [] as string[], tellsPaths = true } = {},
): Promise<unknown> {
  const handlers = new Map<string, (context: RequestContext) => unknown>();
  const all = [anInfo('c', false), anInfo('b', true), anInfo('a', false)];
  addContainerRoutes(
    {
      add: (_: string, at: string, handler: (context: RequestContext) => unknown) =>
        handlers.set(at, handler),
    } as unknown as Routes,
    {
      containers: {
        list: () => all,
        require: () => all[0],
        sizes: async () => ({ changedBytes: 5, rootBytes: 105 }),
        sizesIfStaying: async ({ name }: ContainerInfo) =>
          name === 'a' ? null : { changedBytes: 5, rootBytes: 105 },
        filePaths: async () => PATHS,
        volumesOf: async () => [{ name: 'v', path: '/v', target: '/in', readOnly: false }],
      } as unknown as ContainerView,
      clock: new FakeClock(),
      execs: { runningIn: (id) => (id === all[0]!.id ? running : []) },
      tellsPaths,
      networkIdOf: (name) => name,
      elsewhere: null,
    },
  );
  const given = new URLSearchParams(query);
  let answer: unknown = null;
  await handlers.get(path)!({
    param: () => 'c',
    text: (name: string) => given.get(name),
    flag: (name: string) => given.get(name) === '1',
    send: (_: number, value: unknown) => {
      answer = value;
    },
  } as unknown as RequestContext);
  return answer;
}

test.each([
  ['', ['/b']],
  ['all=1', ['/c', '/b', '/a']],
  ['limit=2', ['/c', '/b']],
  ['limit=0', ['/b']],
  ['limit=', ['/b']],
  ['limit=-1', ['/b']],
])('the list of containers with "%s" has %j', async (query, names) => {
  const rows = (await answerTo('/containers/json', query)) as { Names: string[] }[];
  expect(rows.flatMap(({ Names }) => Names)).toEqual(names);
});

test.each(['abc', '1.5', '1e3', ' 1'])('the limit "%s" is refused', async (limit) => {
  const refused = {
    code: 'invalid-argument',
    message: `invalid limit: '${limit}' is not a number`,
  };
  await expect(answerTo('/containers/json', `limit=${limit}`)).rejects.toMatchObject(refused);
});

test('sizes are told when they are asked for, in the list and of one', async () => {
  const sizes = { SizeRw: 5, SizeRootFs: 105 };
  expect(await answerTo('/containers/json', 'size=1')).toMatchObject([sizes]);
  expect(await answerTo('/containers/:id/json', 'size=1')).toMatchObject(sizes);
  const rows = (await answerTo('/containers/json', 'size=1&all=1')) as { Names: string[] }[];
  expect(rows.flatMap(({ Names }) => Names)).toEqual(['/c', '/b']); // the third is removed meanwhile
  expect(await answerTo('/containers/:id/json', '')).not.toHaveProperty('SizeRw');
});

test('volumes are shown as they are mounted, of a task as well', async () => {
  expect(await answerTo('/containers/:id/json', '')).toMatchObject({
    Mounts: [{ Type: 'volume', Name: 'v', Source: '/v', Destination: '/in' }],
  });
});

test('paths of files are told to who asks this node about its own containers', async () => {
  expect(await answerTo('/containers/:id/json', '')).toMatchObject({
    ...{ LogPath: '', HostsPath: '/n/c/hosts', HostnamePath: '/n/c/hostname' },
    ResolvConfPath: '',
  });
  const none = { LogPath: '', HostsPath: '', HostnamePath: '', ResolvConfPath: '' };
  const elsewhere = await answerTo('/containers/:id/json', '', { tellsPaths: false });
  expect(elsewhere).toMatchObject(none);
});

test('the execs that run in a container are shown with it', async () => {
  expect(await answerTo('/containers/:id/json', '')).toMatchObject({ ExecIDs: null });
  const busy = await answerTo('/containers/:id/json', '', { running: ['e1', 'e2'] });
  expect(busy).toMatchObject({ ExecIDs: ['e1', 'e2'] });
});
