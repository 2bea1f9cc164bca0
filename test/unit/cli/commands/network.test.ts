import { expect, test } from 'vitest';
import { create } from '../../../../cli/commands/network.ts';
import { runCommand } from '../../../support/cli-command.ts';

const make = async (...argv: string[]) => {
  const asked: { Driver: string }[] = [];
  const networkCreate = async (request: { Driver: string }) => {
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

test.each([
  [['--scope', 'swarm'], '--scope swarm: networks of bridge are local\n'],
  [['-d', 'overlay', '--scope', 'local'], '--scope local: networks of overlay are swarm\n'],
])('network create %j is refused', async (argv, stderr) => {
  expect(await make(...argv)).toEqual({ status: 1, stdout: '', stderr, asked: [] });
});
