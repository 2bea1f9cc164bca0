import { describe, expect, test } from 'vitest';
import { ApiError } from '../../../../cli/client/transport.ts';
import { create, rm } from '../../../../cli/commands/network.ts';
import { runCommand } from '../../../support/cli-command.ts';

interface Request {
  readonly Driver: string;
  readonly Scope?: string;
  readonly ConfigOnly?: boolean;
  readonly ConfigFrom?: { readonly Network: string };
}

const make = async (...argv: string[]) => {
  const asked: Request[] = [];
  const networkCreate = async (request: Request) => {
    asked.push(request);
    return { Id: 'n1', Warning: '' };
  };
  const result = await runCommand(create, [...argv, 'net'], { engine: { networkCreate } });
  return { ...result, asked };
};

test.each([
  [['-d', 'overlay', '--scope', 'swarm'], 'overlay'],
  [['--scope', 'local', '--ipv4'], 'bridge'],
  [['-d', 'macvlan', '--scope', 'local'], 'macvlan'],
])('network create %j asks for what is so anyway', async (argv, driver) => {
  const { stdout, asked } = await make(...argv);
  expect([stdout, asked.map(({ Driver }) => Driver)]).toEqual(['n1\n', [driver]]);
});

test('network create asks for a configuration, and for a swarm network that each node makes from its own', async () => {
  const { asked } = await make('--config-only', '-o', 'parent=eth1');
  expect(asked).toMatchObject([{ ConfigOnly: true, Options: { parent: 'eth1' } }]);
  expect(Object.keys(asked[0]!)).not.toContain('Scope');
  const swarm = await make('-d', 'macvlan', '--scope', 'swarm', '--config-from', 'conf');
  expect(swarm.asked).toMatchObject([
    { Driver: 'macvlan', Scope: 'swarm', ConfigFrom: { Network: 'conf' } },
  ]);
});

test.each([
  [['-d', 'overlay', '--scope', 'local'], '--scope local: networks of overlay are swarm\n'],
])('network create %j is refused', async (argv, stderr) => {
  expect(await make(...argv)).toEqual({ status: 1, stdout: '', stderr, asked: [] });
});

describe('network rm', () => {
  const WARNING =
    'WARNING! This will remove the routing-mesh network: no service can publish ports until another is made with --ingress.\nAre you sure you want to continue? [y/N]: ';

  /** Of `net`, `mesh`, which is the network of published ports, and no others. */
  async function remove(argv: readonly string[], stdin = '') {
    const removed: string[] = [];
    const known = (ref: string) => {
      if (!['net', 'mesh'].includes(ref)) throw new ApiError(404, `network ${ref} not found`);
    };
    const engine = {
      network: async (ref: string) => {
        known(ref);
        return { Name: ref, Ingress: ref === 'mesh' };
      },
      networkRemove: async (ref: string) => {
        known(ref);
        removed.push(ref);
      },
    };
    return { ...(await runCommand(rm, argv, { engine, stdin })), removed };
  }

  test.each([
    ['y\n', ['mesh', 'net']],
    ['Yes\n', ['mesh', 'net']],
    ['n\n', ['net']],
    ['yesterday\n', ['net']],
    ['\n', ['net']],
    ['', ['net']],
  ])('asks about the ingress network alone; to %j it removes %j', async (answer, expected) => {
    expect(await remove(['mesh', 'net'], answer)).toEqual({
      status: 0,
      stdout: expected.map((name) => `${name}\n`).join(''),
      stderr: WARNING,
      removed: expected,
    });
  });

  test('with -f it does not ask, and one that is not there is no mistake', async () => {
    expect(await remove(['-f', 'gone', 'mesh'])).toEqual({
      status: 0,
      stdout: 'mesh\n',
      stderr: '',
      removed: ['mesh'],
    });
  });

  test('one that is not there is told in the words of its removal', async () => {
    expect(await remove(['gone', 'net'])).toEqual({
      status: 1,
      stdout: 'net\n',
      stderr: 'Error response from daemon: network gone not found\n',
      removed: ['net'],
    });
  });
});
