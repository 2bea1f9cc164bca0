// skep's own routes on a real daemon: what they answer is what docs/api/skep.yaml says.
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { describe, expect, test } from 'vitest';
import { encodeTarHeader, tarTrailer } from '../../worker/images/tar-writer.ts';
import { clusterTestsCanRun } from '../support/cluster.ts';
import { complaintOf, skepOpenApi } from '../support/skep-openapi.ts';
import { useCluster } from '../support/use-cluster.ts';

const IMAGE = 'skep-test/busybox:1';

describe.skipIf(!clusterTestsCanRun)("answers of skep's own routes", () => {
  const shared = useCluster('api', { managers: 1, workers: 1 }, async (cluster) => {
    await cluster.image({ name: IMAGE });
    await cluster.skep([
      ...['service', 'create', '--detach', '--no-resolve-image', '--name', 'waits'],
      ...['--constraint', 'node.labels.none==here', '--reserve-memory', '1G', IMAGE],
    ]);
    await cluster.skep(['network', 'create', '-d', 'overlay', 'back']);
    await cluster.skep([
      ...['service', 'create', '--no-resolve-image', '--name', 'runs', '--network', 'back'],
      ...['--stop-grace-period', '0s', IMAGE, 'sleep', '1000'],
    ]);
  });

  const open = (method: string, path: string, json?: unknown, host = 'manager-1') =>
    opened(method, path, json === undefined ? undefined : JSON.stringify(json), host);
  const opened = (method: string, path: string, body?: string | Buffer, host = 'manager-1') =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const { socket } = shared.current.host(host);
      const headers = { 'Content-Type': 'application/json' };
      const parts = { socketPath: socket, method, path, headers, agent: false as const };
      const request = httpRequest(parts, resolve);
      request.on('error', reject);
      request.end(body);
    });
  const call = async (method: string, path: string, json?: unknown, host?: string) => {
    return wholeOf(await open(method, path, json, host));
  };
  const send = async (method: string, path: string, body: Buffer) =>
    wholeOf(await opened(method, path, body));
  const wholeOf = async (response: IncomingMessage) => {
    let text = '';
    for await (const chunk of response) text += String(chunk);
    return { status: response.statusCode ?? 0, text };
  };
  /** Operations that were answered by 200, as the document says. */
  const answered = new Set<string>();
  const complaint = (method: string, route: string, status: number, value: unknown): string => {
    const words = complaintOf(route, method.toLowerCase(), status, value);
    if (words === '' && status === 200) answered.add(`${method} ${route}`);
    return words;
  };
  /** The words of the document against one answer of JSON. */
  const judged = async (
    method: 'GET' | 'POST',
    route: string,
    path: string,
    json?: unknown,
    host?: string,
  ) => {
    const { status, text } = await call(method, path, json, host);
    const value = JSON.parse(text);
    return { status, complaint: complaint(method, route, status, value), value };
  };

  test('explain', async () => {
    const route = '/skep/services/{id}/explain';
    const answer = await judged('GET', route, '/v1.44/skep/services/waits/explain');
    expect([answer.status, answer.complaint]).toEqual([200, '']);
    expect(answer.value.Waiting).toHaveLength(1);
    expect(answer.value.Nearest).not.toBeNull();
    for (const [path, host, status] of [
      ['/skep/services/none/explain', 'manager-1', 404],
      ['/skep/services/waits/explain', 'worker-1', 503],
    ] as const) {
      const refused = await judged('GET', route, path, undefined, host);
      expect([refused.status, refused.complaint]).toEqual([status, '']);
    }
  });

  test('watch', async () => {
    const response = await open('GET', '/skep/watch?previous=1');
    const events: { name: string; data: unknown }[] = [];
    let rest = '';
    for await (const chunk of response) {
      rest += String(chunk);
      const parts = rest.split('\n\n');
      rest = parts.pop()!;
      for (const part of parts) {
        const data = /^data: (.*)$/m.exec(part)?.[1];
        if (data === undefined) continue;
        events.push({ name: /^event: (.*)$/m.exec(part)![1]!, data: JSON.parse(data) });
      }
      if (events.length === 1)
        await shared.current.skep(['node', 'update', '--label-add', 'a=b', 'worker-1']);
      if (events.length > 1) break;
    }
    response.destroy();
    expect(events.slice(0, 2).map(({ name }) => name)).toEqual(['ready', 'commit']);
    for (const { data } of events) {
      expect(complaint('GET', '/skep/watch', 200, data)).toBe('');
    }
    const refused = await judged('GET', '/skep/watch', '/skep/watch?from=x');
    expect([refused.status, refused.complaint]).toEqual([400, '']);
  });

  test('net/verify', async () => {
    const { status, complaint, value } = await judged(
      'POST',
      '/skep/net/verify',
      '/skep/net/verify',
    );
    expect([status, complaint, value.length]).toEqual([200, '', 2]);
  });

  test('net/trace', async () => {
    const path = '/skep/net/trace';
    for (const from of ['worker-1', 'runs.1']) {
      const trace = await judged('GET', path, `${path}?service=runs&from=${from}`);
      expect([trace.status, trace.complaint]).toEqual([200, '']);
      expect(trace.value.Hops.length).toBeGreaterThan(0);
    }
    const refused = await judged('GET', path, `${path}?service=nothing&from=nobody`);
    expect([refused.status, refused.complaint]).toEqual([404, '']);
    expect((await judged('GET', path, path)).status).toBe(400);
  });

  test('stacks/plan', async () => {
    const route = '/skep/stacks/{name}/plan';
    const ContainerSpec = { Image: IMAGE };
    const service = { Name: 'shop_web', TaskTemplate: { ContainerSpec }, Mode: { Global: {} } };
    const wanted = {
      Services: [{ ...service, Labels: { 'com.docker.stack.namespace': 'shop' } }],
      Secrets: [{ Name: 'shop_key', Data: 'eA==', Labels: {} }],
    };
    const { status, complaint, value } = await judged(
      'POST',
      route,
      '/skep/stacks/shop/plan',
      wanted,
    );
    expect([status, complaint]).toEqual([200, '']);
    expect(value.Changes).toHaveLength(2);
    const refused = await judged('POST', route, '/skep/stacks/shop/plan', { Services: [{}] });
    expect([refused.status, refused.complaint]).toEqual([400, '']);
  });

  test.each([
    ['/skep/images/{name}/distribute', `/skep/images/${IMAGE}/distribute`],
    ['/skep/verify-images', '/skep/verify-images'],
  ])('%s', async (route, path) => {
    const { status, text } = await call('POST', path);
    expect(status, text).toBe(200);
    const lines = text.trim().split('\r\n');
    expect(lines.length).toBeGreaterThan(0);
    for (const line of lines) expect(complaint('POST', route, 200, JSON.parse(line))).toBe('');
    expect(text).not.toContain('errorDetail');
  });

  test('images/distribute of an image that is not there', async () => {
    const route = '/skep/images/{name}/distribute';
    const { status, complaint } = await judged('POST', route, '/skep/images/none:1/distribute');
    expect([status, complaint]).toEqual([404, '']);
  });

  test.each(['manager-1', 'worker-1'])('metrics of %s', async (host) => {
    const { status, text } = await call('GET', '/skep/metrics', undefined, host);
    expect([status, complaint('GET', '/skep/metrics', status, text)]).toEqual([200, '']);
    expect(text).toContain('skep_network_drifts_left{networks="cluster"} 0\n');
  });

  test('metrics of the node that runs a task tell what it uses', async () => {
    const [task] = await shared.current.running('runs', 1);
    const { text } = await call('GET', '/skep/metrics', undefined, task!.node);
    const label = 'container_label_com_docker_swarm_service_name="runs"';
    const told = (name: string): number => {
      const line = text.split('\n').find((it) => it.startsWith(`${name}{`) && it.includes(label));
      return Number(line?.slice(line.lastIndexOf(' ') + 1));
    };
    expect(told('container_cpu_usage_seconds_total')).toBeGreaterThan(0);
    expect(told('container_memory_usage_bytes')).toBeGreaterThan(0);
    expect(told('container_network_receive_bytes_total')).toBeGreaterThanOrEqual(0);
    expect(told('container_blkio_device_usage_total')).toBeGreaterThanOrEqual(0);
    expect(told('container_threads')).toBe(1);
    expect(Math.abs(told('container_last_seen') - Date.now() / 1000)).toBeLessThan(60);
  });

  test('volumes/archive', async () => {
    const route = '/skep/volumes/{name}/archive';
    const path = '/skep/volumes/data/archive';
    const missing = await call('GET', path);
    const words = complaint('GET', route, missing.status, JSON.parse(missing.text));
    expect([missing.status, words]).toEqual([404, '']);
    const tar = (name: string) =>
      Buffer.concat([encodeTarHeader({ name, kind: 'fifo' }), tarTrailer()]);
    const put = async (query: string, body: Buffer) => {
      const { status, text } = await send('PUT', path + query, body);
      return [status, complaint('PUT', route, status, JSON.parse(text))];
    };
    expect(await put('', tar('one'))).toEqual([200, '']);
    expect(await put('', tar('two'))).toEqual([409, '']);
    expect(await put('?force=1', tar('two'))).toEqual([200, '']);
    expect(await put('?force=1', Buffer.alloc(1000, 'x'))).toEqual([400, '']);
    const { status, text } = await call('GET', path);
    expect([status, complaint('GET', route, status, text)]).toEqual([200, '']);
    expect(text).toMatch(/one.*two/s);
  });

  test('rebalance', async () => {
    const { status, complaint: words } = await judged('GET', '/skep/rebalance', '/skep/rebalance');
    expect([status, words]).toEqual([200, '']);
    expect((await judged('GET', '/skep/rebalance', '/skep/rebalance?max=0')).status).toBe(400);
  });

  test('tasks/move', async () => {
    const route = '/skep/tasks/{id}/move';
    const [task] = await shared.current.running('runs', 1);
    const path = `/skep/tasks/${task!.id}/move`;
    for (const Order of ['none', 'start-first']) {
      const moved = await judged('POST', route, path, { Order });
      expect([moved.status, moved.complaint, moved.value]).toEqual([200, '', { ID: task!.id }]);
    }
    const refused = await judged('POST', route, '/skep/tasks/none/move', {});
    expect([refused.status, refused.complaint]).toEqual([404, '']);
    const worker = await judged('POST', route, path, {}, 'worker-1');
    expect([worker.status, worker.complaint]).toEqual([503, '']);
  });

  test('each operation was answered', () => {
    const all = Object.entries(skepOpenApi.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect([...answered].sort()).toEqual(all.sort());
  });
});
