import { describe, expect, test } from 'vitest';
import { ClusterCalls } from '../../../../cli/client/cluster-calls.ts';
import { encodeFilters } from '../../../../cli/client/filter-query.ts';
import { FrameDecoder, framesOf } from '../../../../cli/client/frames.ts';

function frame(stream: number, text: string): Buffer {
  const data = Buffer.from(text);
  const head = Buffer.alloc(8);
  head[0] = stream;
  head.writeUInt32BE(data.length, 4);
  return Buffer.concat([head, data]);
}

describe('multiplexed streams', () => {
  const bytes = Buffer.concat([frame(1, 'out'), frame(2, ''), frame(2, 'error')]);
  const expected = [
    ['stdout', 'out'],
    ['stderr', ''],
    ['stderr', 'error'],
  ];

  test.each([1, 2, 3, 7, 8, 9, 100])('are cut into frames from chunks of %d bytes', (size) => {
    const decoder = new FrameDecoder();
    const frames = [];
    for (let at = 0; at < bytes.length; at += size) {
      frames.push(...decoder.push(bytes.subarray(at, at + size)));
    }
    expect(frames.map(({ stream, data }) => [stream, data.toString()])).toEqual(expected);
  });

  test('a stream number that does not exist is an error', () => {
    expect(() => new FrameDecoder().push(frame(9, 'x'))).toThrow(/unrecognized input header: 9/);
  });

  test("the daemon's own error ends the read", async () => {
    const body = (async function* () {
      yield frame(3, 'boom');
    })();
    await expect(framesOf(body)[Symbol.asyncIterator]().next()).rejects.toThrow(/boom/);
  });
});

test('filters are sent as maps, none as nothing', () => {
  expect(encodeFilters({ name: ['a', 'b'], id: [] })).toBe('{"name":{"a":true,"b":true}}');
  expect(encodeFilters({ id: [] })).toBeUndefined();
  expect(encodeFilters(undefined)).toBeUndefined();
});

test('a spec says of each port and network which address it has: where nothing is said, an update keeps the one before', async () => {
  const bodies: unknown[] = [];
  const transport = {
    call: async (_: string, __: string, { body }: { readonly body: unknown }) => {
      bodies.push(body);
    },
  };
  const calls = new ClusterCalls(transport as never);
  const seat = { IPv4Address: '10.9.0.7' };
  const port = { Protocol: 'tcp', TargetPort: 80, PublishMode: 'ingress' };
  const spec = {
    Name: 'web',
    TaskTemplate: {
      ContainerSpec: { Image: 'web:1' },
      Networks: [{ Target: 'front' }, { Target: 'back', IPAMConfig: seat }],
    },
    EndpointSpec: { Ports: [port] },
  };
  await calls.serviceCreate(spec, undefined);
  expect(bodies).toEqual([
    {
      ...spec,
      TaskTemplate: {
        ...spec.TaskTemplate,
        Networks: [
          { Target: 'front', IPAMConfig: {} },
          { Target: 'back', IPAMConfig: seat },
        ],
      },
      EndpointSpec: { Ports: [{ ...port, HostIp: '' }] },
    },
  ]);
});
