import { expect, test } from 'vitest';
import { create } from '../../../../cli/commands/network.ts';
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
