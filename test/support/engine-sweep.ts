/** What requests to an engine can have made goes again: else lists grow, and with them all that is measured of it. */
import { sendApiRequest } from './api-answers.ts';

type Rows = readonly { readonly ID?: string; readonly Id?: string }[];

/** Objects of the cluster. @param socketPath of a manager */
export async function sweepCluster(socketPath: string): Promise<void> {
  for (const kind of ['services', 'secrets', 'configs', 'networks']) {
    for (const id of await ids(socketPath, `/${kind}`)) await remove(socketPath, `/${kind}/${id}`); // not those that stay
  }
}

/** Containers, those of tasks that take their time to stop as well, networks and volumes of the node. Resolves with whether it has an image. */
export async function sweepNode(socketPath: string): Promise<boolean> {
  const filters = (value: object): string => encodeURIComponent(JSON.stringify(value));
  for (const id of await ids(socketPath, '/containers/json?all=1')) {
    await remove(socketPath, `/containers/${id}?force=1&v=1`);
  }
  const own = `/networks?filters=${filters({ scope: ['local'] })}`;
  for (const id of await ids(socketPath, own)) await remove(socketPath, `/networks/${id}`);
  const { Volumes } = (await json(socketPath, '/volumes')) as {
    readonly Volumes: readonly { readonly Name: string }[];
  };
  for (const { Name } of Volumes) {
    await remove(socketPath, `/volumes/${encodeURIComponent(Name)}?force=1`);
  }
  return (await ids(socketPath, '/images/json')).length > 0;
}

async function ids(socketPath: string, path: string): Promise<string[]> {
  return ((await json(socketPath, path)) as Rows).map(({ ID, Id }) => ID ?? Id ?? '');
}

async function json(socketPath: string, path: string): Promise<unknown> {
  const answer = await sendApiRequest(socketPath, {
    method: 'GET',
    path,
    headers: {},
    body: null,
  });
  if (answer.kind !== 'answer' || answer.status !== 200)
    throw new Error(`${path}: ${JSON.stringify(answer)}`);
  return JSON.parse(answer.text);
}

const remove = (socketPath: string, path: string) =>
  sendApiRequest(socketPath, { method: 'DELETE', path, headers: {}, body: null });
