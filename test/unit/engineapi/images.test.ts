import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { SkepError } from '../../../common/base/errors.ts';
import type { EngineEvent } from '../../../common/model/engine-event.ts';
import { addImageRoutes } from '../../../daemon/engineapi/images.ts';
import { imageToJson } from '../../../daemon/engineapi/json/image.ts';
import type { Routes } from '../../../daemon/engineapi/server.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { anImage } from '../../support/fake-container-host.ts';

const DIGEST = `sha256:${'d'.repeat(64)}`;

type Images = Parameters<typeof addImageRoutes>[1]['images'];

/** The handler of a route over these images. */
function handlerOf(
  route: string,
  images: object,
  tell: (event: EngineEvent) => void = () => {},
): (context: unknown) => unknown {
  const handlers = new Map<string, (context: unknown) => unknown>();
  const routes = {
    add: (method: string, path: string, handler: (context: unknown) => unknown) => {
      handlers.set(`${method} ${path}`, handler);
    },
  };
  addImageRoutes(routes as unknown as Routes, {
    ...({ images: images as Images, swarm: {} } as unknown as Parameters<typeof addImageRoutes>[1]),
    clock: new FakeClock(),
    events: { tell },
  });
  return handlers.get(route)!;
}

/** Ids of the images that the list has for these filters. */
async function listed(filters: object): Promise<string[]> {
  const images = [
    { ...anImage(), id: 'tagged', repoTags: ['web:1'], repoDigests: [] },
    { ...anImage(), id: 'pulled', repoTags: [], repoDigests: [`r.example:5000/web@${DIGEST}`] },
  ];
  let answer: { Id: string }[] = [];
  await handlerOf('GET /images/json', { list: () => images })({
    apiMinor: 41,
    text: (name: string) => (name === 'filters' ? JSON.stringify(filters) : null),
    flag: () => false,
    send: (_: number, value: typeof answer) => {
      answer = value;
    },
  });
  return answer.map(({ Id }) => Id);
}

test.each([
  [50, true, [7, 0]],
  [50, false, [-1, -1]],
  [41, true, [-1, -1]],
])('version 1.%i, asked for shared sizes (%s), has %j', async (apiMinor, isAsked, expected) => {
  const images = ['shares', 'newer'].map((id) => ({ ...anImage(), id, repoTags: ['web:1'] }));
  const usage = async () => ({ bytes: 9, images: [{ id: 'shares', sharedBytes: 7 }] });
  let answer: { SharedSize: number }[] = [];
  await handlerOf('GET /images/json', { list: () => images, usage })({
    apiMinor,
    text: () => null,
    flag: (name: string) => isAsked && name === 'shared-size',
    send: (_: number, value: typeof answer) => {
      answer = value;
    },
  });
  expect(answer.map(({ SharedSize }) => SharedSize)).toEqual(expected);
});

test('a client that leaves in the middle of an archive is no failure of ours', async () => {
  const out = new PassThrough();
  const gone = new AbortController();
  const archive = new PassThrough();
  const saved = handlerOf('GET /images/*', { get: () => anImage(), save: () => archive })({
    param: () => 'web:1/get',
    signal: gone.signal,
    begin: () => out,
  });
  archive.write('some of it');
  gone.abort(new SkepError('cancelled', 'client went away'));
  out.destroy();
  await expect(saved).rejects.toMatchObject({ code: 'cancelled' });
});

test.each([
  ['web', ['tagged']],
  ['web:1', ['tagged']],
  ['r.example:5000/web', ['pulled']],
  ['r.example:5000/*', ['pulled']],
  [`r.example:5000/web@${DIGEST}`, ['pulled']],
  ['r.example:5000/web:1', []],
])('images are found by their names, without a tag as well: %s', async (reference, ids) => {
  expect(await listed({ reference: [reference] })).toEqual(ids);
});

test('inspect shows what concerns builders, as Docker does: OnBuild always, the others when they say something', () => {
  const config = { onBuild: ['RUN make'], shell: ['/bin/ash', '-ec'], argsEscaped: true };
  expect(imageToJson(anImage(config), [], 50)).toMatchObject({
    Config: { OnBuild: ['RUN make'], Shell: ['/bin/ash', '-ec'], ArgsEscaped: true },
  });
  const { Config: bare } = imageToJson(anImage(), [], 50) as { Config: object };
  expect(bare).toMatchObject({ OnBuild: null });
  for (const absent of ['Shell', 'ArgsEscaped']) expect(bare).not.toHaveProperty(absent);
});

test('inspect shows how often a starting container is asked for its health', () => {
  const none = { intervalMs: null, timeoutMs: null, startPeriodMs: null, retries: null };
  const healthcheck = { ...none, test: ['CMD', 'true'], startIntervalMs: 250 };
  expect(imageToJson(anImage({ healthcheck }), [], 50)).toMatchObject({
    Config: { Healthcheck: { Test: ['CMD', 'true'], StartInterval: 250_000_000 } },
  });
});

test('a prune is told of when it is done, with what came free', async () => {
  const events: EngineEvent[] = [];
  const prune = async () => {
    expect(events).toEqual([]);
    return { untagged: [], deleted: [], bytes: 9 };
  };
  await handlerOf(
    'POST /images/prune',
    { prune },
    (event) => void events.push(event),
  )({
    ...{ text: () => null, send: () => {} },
  });
  expect(events).toEqual([
    { type: 'image', action: 'prune', id: '', attributes: { reclaimed: '9' } },
  ]);
});
