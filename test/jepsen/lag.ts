/**
 * Notices when the whole machine, or this process, stood still: a thread of its own and a timer of this
 * one that come late. What happens in such a span says nothing about the cluster.
 */
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import type { Span } from '../support/availability.ts';

const PERIOD_MS = 20;
/** Later than this is a stall; ordinary scheduling on a full machine stays below. */
export const STALL_MS = 200;

const WATCH = `
  const { parentPort, workerData: { periodMs, stallMs } } = require('node:worker_threads');
  const cell = new Int32Array(new SharedArrayBuffer(4));
  const now = () => performance.timeOrigin + performance.now();
  for (let before = now(); ; ) {
    Atomics.wait(cell, 0, 0, periodMs);
    const after = now();
    if (after - before - periodMs > stallMs) parentPort.postMessage({ from: before + periodMs, to: after });
    before = after;
  }
`;

export interface MachineLoad {
  /** Share of processor time that the hypervisor gave to others, 0..1. */
  readonly steal: number;
  /** Share of time in which some task waited for a processor, 0..1; null where it is not told. */
  readonly pressure: number | null;
}

export class LagMonitor {
  readonly #nowMs: () => number;
  readonly #worker: Worker;
  readonly #timer: NodeJS.Timeout;
  readonly #spans: Span[] = [];
  readonly #start = sample();
  readonly #startMs = performance.now();
  #longestMs = 0;

  /** @param nowMs the clock of the run */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#worker = new Worker(WATCH, {
      eval: true,
      workerData: { periodMs: PERIOD_MS, stallMs: STALL_MS },
    });
    this.#worker.on('message', ({ from, to }: { from: number; to: number }) => {
      const offset = nowMs() - (performance.timeOrigin + performance.now());
      this.#note({ fromMs: from + offset, toMs: to + offset });
    });
    let before = nowMs();
    this.#timer = setInterval(() => {
      const after = this.#nowMs();
      if (after - before - PERIOD_MS > STALL_MS) {
        this.#note({ fromMs: before + PERIOD_MS, toMs: after });
      }
      before = after;
    }, PERIOD_MS);
  }

  /** So far; they may overlap. */
  get stalls(): readonly Span[] {
    return this.#spans;
  }

  get longestMs(): number {
    return this.#longestMs;
  }

  load(): MachineLoad {
    const now = sample();
    const total = now.total - this.#start.total;
    const pressure =
      now.pressureUs === null || this.#start.pressureUs === null
        ? null
        : (now.pressureUs - this.#start.pressureUs) / 1000 / (performance.now() - this.#startMs);
    return { steal: total > 0 ? (now.steal - this.#start.steal) / total : 0, pressure };
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#worker.terminate();
  }

  #note(span: Span): void {
    this.#spans.push(span);
    this.#longestMs = Math.max(this.#longestMs, span.toMs - span.fromMs);
  }
}

function sample(): { total: number; steal: number; pressureUs: number | null } {
  // proc(5): user nice system idle iowait irq softirq steal
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n');
  const ticks = line.trim().split(/\s+/).slice(1, 9).map(Number);
  return {
    total: ticks.reduce((sum, value) => sum + value, 0),
    steal: ticks[7] ?? 0,
    pressureUs: pressure(),
  };
}

/** Documentation/accounting/psi.rst: `some avg10=.. avg60=.. avg300=.. total=MICROSECONDS`. */
function pressure(): number | null {
  try {
    const match = /^some .*total=(\d+)/m.exec(readFileSync('/proc/pressure/cpu', 'utf8'));
    return match ? Number(match[1]) : null;
  } catch {
    return null;
  }
}
