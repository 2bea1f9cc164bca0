/** Flags that the commands around a deployment share. */
import type { Command, Option } from 'commander';
import type { ResolveWhen } from './stack-request.ts';

export type PlanOutput = 'text' | 'json';

export function outputFlag(command: Command): Option {
  const outputs: readonly PlanOutput[] = ['text', 'json'];
  return command
    .createOption('-o, --output <format>', 'of the plan')
    .choices(outputs)
    .default('text');
}

export function resolveFlag(command: Command): Option {
  const times: readonly ResolveWhen[] = ['always', 'changed', 'never'];
  return command
    .createOption('--resolve-image <when>', 'ask the registry for digests')
    .choices(times)
    .default('always');
}
