/**
 * An agent is killed at each operation on the files of its database: before it, in the midst of a write, and after it. The next
 * life on the same directory reads every record, and has whatever the database had promised. Real processes, real signals, real
 * files, in memory: a kill loses nothing that the kernel has (`test/sim` cuts the power). Needs no root.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isBefore, type TaskState } from '../../common/model/task-state.ts';
import type { DyingAgentReport, DyingAgentRequest } from '../support/dying-agent.ts';
import type { FatalMoment } from '../support/fatal-files.ts';

const LIFE_LIMIT_MS = 20_000;
const MOMENTS: readonly FatalMoment['moment'][] = ['before', 'amid', 'after'];

let root: string;
let program: string;

beforeAll(async () => {
  root = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'skep-agent-'));
  program = join(root, 'dying-agent.cjs');
  const support = join(import.meta.dirname, '../support');
  await build({
    entryPoints: [join(support, 'dying-agent.ts')],
    ...{ outfile: program, bundle: true, platform: 'node', format: 'cjs', logLevel: 'error' },
    plugins: [
      {
        name: 'fatal-files',
        setup: ({ onResolve }) =>
          onResolve({ filter: /^node:fs\/promises$/ }, ({ importer }) =>
            importer.endsWith('/small-files.ts') ? { path: join(support, 'fatal-files.ts') } : null,
          ),
      },
    ],
  });
}, 60_000);
afterAll(() => rm(root, { recursive: true, force: true }));

/** The lives of one database, one after the other, and what was promised in them. */
class Directory {
  readonly points: string[] = [];
  readonly #dir = join(root, 'tasks');
  #lives = 0;
  /** By task: the least that it must be found in. */
  readonly #kept = new Map<string, TaskState>();
  /** May be there or not: nothing was promised yet. */
  readonly #open = new Set<string>();
  /** Of both: may be gone, too. */
  readonly #leaving = new Set<string>();

  /** True when it died. Checks what it found. */
  live(moment: FatalMoment): boolean {
    const life = ++this.#lives;
    const request: DyingAgentRequest = { dir: this.#dir, life, ...moment };
    const run = spawnSync(process.execPath, [program, JSON.stringify(request)], {
      ...{ encoding: 'utf8', timeout: LIFE_LIMIT_MS, killSignal: 'SIGTERM' },
    });
    const where = `${JSON.stringify(moment)}, after ${this.points.at(-1)}`;
    expect(run.stderr, where).toBe('');
    const lines = run.stdout.trimEnd().split('\n');
    for (const line of lines) this.#hear(JSON.parse(line) as DyingAgentReport, where);
    if (run.signal === 'SIGKILL') return true;
    expect([run.status, run.signal], where).toEqual([0, null]);
    return false;
  }

  #hear(report: DyingAgentReport, where: string): void {
    switch (report.kind) {
      case 'torn':
        throw new Error(`${where}: ${report.words}`);
      case 'found':
        this.#compare(report.states, where);
        break;
      case 'putting':
        if (!this.#kept.has(report.taskId)) this.#open.add(report.taskId);
        break;
      case 'removing':
        this.#leaving.add(report.taskId);
        break;
      case 'kept':
        if (this.#leaving.has(report.taskId)) break; // or rather its removal was, which came after it
        this.#open.delete(report.taskId);
        this.#kept.set(report.taskId, report.state as TaskState);
        break;
      case 'removed':
        this.#forget(report.taskId);
        break;
      case 'dying':
        this.points.push(report.what);
        break;
      case 'stopped':
        break;
    }
  }

  #compare(states: Readonly<Record<string, string>>, where: string): void {
    for (const [taskId, least] of this.#kept) {
      if (this.#leaving.has(taskId)) continue;
      const state = states[taskId] as TaskState | undefined;
      expect(state, `${where}: ${taskId}, which was kept as ${least}`).toBeDefined();
      expect(isBefore(state!, least), `${where}: ${taskId} is ${state}, not ${least}`).toBe(false);
    }
    for (const taskId of [...this.#kept.keys(), ...this.#open]) {
      if (!(taskId in states)) this.#forget(taskId);
    }
    for (const [taskId, state] of Object.entries(states)) {
      const mayBe = this.#kept.has(taskId) || this.#open.has(taskId);
      expect(mayBe, `${where}: ${taskId}, which was removed`).toBe(true);
      this.#forget(taskId);
      this.#kept.set(taskId, state as TaskState);
    }
  }

  #forget(taskId: string): void {
    for (const of of [this.#kept, this.#open, this.#leaving]) of.delete(taskId);
  }
}

describe('an agent that is killed', () => {
  test('at any operation on its files has in its next life what it was promised, and no torn record', {
    timeout: 240_000,
  }, () => {
    const directory = new Directory();
    directory.live({ ordinal: 0, moment: 'before' });
    for (const moment of MOMENTS) {
      let ordinal = 1;
      while (directory.live({ ordinal, moment })) ordinal++;
      // Each state of each task is written and renamed, or several at once; three are removed.
      expect(ordinal).toBeGreaterThan(12);
    }
    const kinds = new Set(directory.points.map((what) => what.split(' ')[0]));
    expect([...kinds].sort()).toEqual(['remove', 'rename', 'write']);
    console.log(`${directory.points.length} points`);
  });
});
