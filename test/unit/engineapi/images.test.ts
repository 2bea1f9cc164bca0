import { expect, test } from 'vitest';
import type { RequestContext } from '../../../daemon/engineapi/http-context.ts';
import { addImageRoutes } from '../../../daemon/engineapi/images.ts';
import { imageToJson } from '../../../daemon/engineapi/json/image.ts';
import type { Routes } from '../../../daemon/engineapi/server.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { anImage } from '../../support/fake-container-host.ts';

const DIGEST = `sha256:${'d'.repeat(64)}`;

/** Ids of the images that the list has for these filters. */
async function listed(filters: object): Promise<string[]> {
  const handlers = new Map<string, (context: RequestContext) => unknown>();
  const routes = {
    add: (method: string, path: string, handler: (context: RequestContext) => unknown) => {
      handlers.set(`${method} ${path}`, handler);
    },
  };
  const images = [
    { ...anImage(), id: 'tagged', repoTags: ['web:1'], repoDigests: [] },
    { ...anImage(), id: 'pulled', repoTags: [], repoDigests: [`r.example:5000/web@${DIGEST}`] },
  ];
  addImageRoutes(routes as unknown as Routes, {
    ...({ images: { list: () => images }, swarm: {} } as unknown as Parameters<
      typeof addImageRoutes
    >[1]),
    clock: new FakeClock(),
  });
  let answer: { Id: string }[] = [];
  const context = {
    apiMinor: 41,
    text: (name: string) => (name === 'filters' ? JSON.stringify(filters) : null),
    send: (_: number, value: typeof answer) => {
      answer = value;
    },
  };
  await handlers.get('GET /images/json')!(context as unknown as RequestContext);
  return answer.map(({ Id }) => Id);
}

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
