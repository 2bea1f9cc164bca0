// What `--help` says of filters is what the daemon takes.
import { Command } from 'commander';
import { expect, test } from 'vitest';
import { COMMANDS, GROUPS } from '../../../cli/command-table.ts';
import type { CommandContext } from '../../../cli/commands/context.ts';
import { CLUSTER_CONTAINER_FILTERS } from '../../../daemon/engineapi/container-filters.ts';
import { NETWORK_FILTERS } from '../../../daemon/engineapi/networks.ts';
import { NODE_FILTERS } from '../../../daemon/engineapi/nodes.ts';
import { PRUNE_FILTERS } from '../../../daemon/engineapi/prune-filters.ts';

const of = (group: string, name: string) => GROUPS[group]!.commands[name]!;

test.each([
  ['ps', COMMANDS['ps']!, CLUSTER_CONTAINER_FILTERS],
  ['network ls', of('network', 'ls'), NETWORK_FILTERS],
  ['node ls', of('node', 'ls'), NODE_FILTERS],
  ['container prune', of('container', 'prune'), PRUNE_FILTERS],
  ['image prune', of('image', 'prune'), PRUNE_FILTERS],
  ['network prune', of('network', 'prune'), PRUNE_FILTERS],
  ['system prune', of('system', 'prune'), PRUNE_FILTERS],
])('the help of %s names every filter', async (_, entry, filters) => {
  const command = new Command();
  (await entry.load())(command, {} as CommandContext);
  const { description } = command.options.find(({ long }) => long === '--filter')!;
  expect(description.split(/, | or /).sort()).toEqual([...filters].sort());
});
