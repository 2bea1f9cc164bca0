import { describe, expect, test } from 'vitest';
import { trace, verify } from '../../../../cli/commands/net.ts';
import type {
  NetworkProofJson,
  NetworkTraceJson,
} from '../../../../common/model/engine-json/network.ts';
import { runCommand } from '../../../support/cli-command.ts';

const RIGHT: NetworkProofJson = {
  NodeID: 'one',
  Hostname: 'manager-1',
  State: 'compared',
  Error: '',
  Compared: 4,
  DriftCount: 0,
  LeftCount: 0,
  RepairedSinceStart: 0,
  Drifts: [],
  Failures: [],
};
const DOWN: NetworkProofJson = { ...RIGHT, Hostname: 'worker-9', State: 'down', Compared: 0 };
const DRIFTED: NetworkProofJson = {
  ...RIGHT,
  Hostname: 'worker-1',
  DriftCount: 3,
  LeftCount: 1,
  RepairedSinceStart: 7,
  Drifts: [
    { Where: 'host', What: 'chain output', Wanted: 'there', Found: null, Repaired: true },
    {
      Where: 'network front',
      What: 'mac 1 beyond vx0',
      Wanted: null,
      Found: '10.0.0.9',
      Repaired: false,
    },
  ],
};

const engineOf = (...proofs: NetworkProofJson[]) => ({ networkProofs: async () => proofs });

describe('skep net verify', () => {
  test('prints a line for each node, and 0 when nothing is wrong', async () => {
    const { status, stdout } = await runCommand(verify, [], { engine: engineOf(RIGHT, DOWN) });
    expect(status).toBe(0);
    expect(stdout).toBe(
      [
        'NODE        NETWORK        COMPARED   DRIFTED   LEFT      REPAIRED SINCE START',
        'manager-1   right          4          0         0         0',
        'worker-9    node is down   ',
        '',
      ].join('\n'),
    );
  });

  test('names what is wrong and what became of it, and ends with 1', async () => {
    const { status, stdout } = await runCommand(verify, [], { engine: engineOf(DRIFTED) });
    expect(status).toBe(1);
    expect(stdout).toBe(
      [
        'NODE       NETWORK   COMPARED   DRIFTED   LEFT      REPAIRED SINCE START',
        'worker-1   wrong     4          3         1         7',
        '',
        'NODE       WHERE           WHAT               WANTED    FOUND      NOW',
        'worker-1   host            chain output       there     absent     repaired',
        'worker-1   network front   mac 1 beyond vx0   absent    10.0.0.9   left',
        '',
        'and 1 more',
        '',
      ].join('\n'),
    );
  });

  test.each<[string, Partial<NetworkProofJson>, string]>([
    ['could not be asked', { State: 'failed', Error: 'no route' }, 'manager-1: no route\n'],
    [
      'could not look everywhere',
      { Failures: [{ Where: 'task a', Reason: 'EACCES' }] },
      'manager-1: task a: EACCES\n',
    ],
  ])('a node that %s is an error', async (_, changes, line) => {
    const engine = engineOf({ ...RIGHT, ...changes });
    const { status, stdout } = await runCommand(verify, [], { engine });
    expect(status).toBe(1);
    expect(stdout).toContain(line);
  });

  test('what was repaired is no error', async () => {
    const engine = engineOf({ ...DRIFTED, LeftCount: 0 });
    expect((await runCommand(verify, ['--repair'], { engine })).status).toBe(0);
  });

  test('repairs only when asked to, and prints JSON', async () => {
    const asked: boolean[] = [];
    const engine = {
      networkProofs: async (repair: boolean) => {
        asked.push(repair);
        return [RIGHT];
      },
    };
    const { stdout } = await runCommand(verify, ['-o', 'json'], { engine });
    expect(JSON.parse(stdout)).toEqual([RIGHT]);
    await runCommand(verify, ['--repair'], { engine });
    expect(asked).toEqual([false, true]);
    expect((await runCommand(verify, ['-o', 'yaml'], { engine })).status).toBe(1);
  });
});

const WAY: NetworkTraceJson = {
  Service: 'web',
  NodeID: 'one',
  Hostname: 'worker-1',
  Task: 'client.1.abc',
  Hops: [
    { Step: 'name', Detail: 'web is 10.0.1.2 in network front', Faults: [] },
    { Step: 'from', Detail: '10.0.1.14/24 on eth0', Faults: ['link eth0 mtu', 'link eth0 state'] },
  ],
};

describe('skep net trace', () => {
  const run = (way: NetworkTraceJson, ...flags: string[]) =>
    runCommand(trace, ['web', '--from', 'client.1', ...flags], {
      engine: { networkTrace: async () => way },
    });

  test('prints each step and what the kernel has otherwise, and ends with 1 for that', async () => {
    const { status, stdout } = await run(WAY);
    expect(status).toBe(1);
    expect(stdout.split('\n').map((line) => line.trimEnd())).toEqual([
      'from client.1.abc on worker-1 to web',
      '',
      'STEP      BY THE TABLES                      KERNEL',
      'name      web is 10.0.1.2 in network front   so in the kernel',
      'from      10.0.1.14/24 on eth0               link eth0 mtu',
      '                                             link eth0 state',
      '',
    ]);
  });

  test('a way that is as it ought to be ends with 0, as JSON too', async () => {
    const right = { ...WAY, Task: '', Hops: WAY.Hops.slice(0, 1) };
    const { status, stdout: shown } = await run(right);
    expect(status).toBe(0);
    expect(shown).toMatch(/^from node worker-1 to web/);
    const { stdout } = await run(right, '--output', 'json');
    expect(JSON.parse(stdout)).toEqual(right);
  });
});
