/** A whole skepd that tells what work costs it. */
import { serve } from '../support/helper-process.ts';
import { CostMeter } from './cost.ts';

let meter: CostMeter | null = null;

const operations = {
  /** @param flags of skepd; it answers when its API does */
  async begin(flags: readonly string[]): Promise<void> {
    process.argv.splice(2, process.argv.length, ...flags);
    await import('../../daemon/main.ts');
  },

  watch(): void {
    meter = new CostMeter();
  },

  watched() {
    if (meter === null) throw new Error('nothing is watched');
    const cost = meter.end();
    meter = null;
    return cost;
  },
};

export type DaemonOperations = typeof operations;
serve(operations);
