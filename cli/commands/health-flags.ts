/** The flags of health checks, the same for services and for containers by hand. */
import type { Command } from 'commander';
import { parseDurationNanos } from '../compose/values.ts';
import { flag, unsigned } from './context.ts';

export const duration = flag(parseDurationNanos);

export function healthFlags(command: Command): Command {
  return command
    .option('--health-cmd <command>', 'run by a shell')
    .option('--health-interval <duration>', 'between checks', duration)
    .option('--health-timeout <duration>', 'of one check', duration)
    .option('--health-retries <n>', 'failures until unhealthy', unsigned)
    .option('--health-start-period <duration>', 'in which failures do not count', duration)
    .option('--health-start-interval <duration>', 'between checks at the start', duration)
    .option('--no-healthcheck', "without the image's check");
}
