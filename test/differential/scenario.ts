/** The steps of which scenarios are made, and what runs them on an engine. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Engine } from './engine.ts';
import { normalForm } from './normal-form.ts';

/** One operation: a call whose answer is compared. */
export interface Operation {
  readonly kind: 'call';
  readonly name: string;
  readonly run: (engine: Engine) => Promise<unknown>;
}

/** Until the engine has come so far; nothing is compared. */
export interface Wait {
  readonly kind: 'wait';
  readonly name: string;
  readonly until: (engine: Engine) => Promise<boolean>;
}

export type Step = Operation | Wait;

export interface Scenario {
  readonly name: string;
  readonly steps: readonly Step[];
}

const WAIT_LIMIT_MS = 45_000;
const WAIT_PERIOD_MS = 100;

/** What a scenario came to: by the name of each operation, its answer in normal form. */
export async function play(scenario: Scenario, engine: Engine): Promise<Record<string, unknown>> {
  const results: Record<string, unknown> = {};
  for (const step of scenario.steps) {
    if (step.kind === 'call') {
      results[unused(step.name, results)] = normalForm(
        await step.run(engine),
        await namesOf(engine),
      );
    } else if (!(await holds(step, engine))) {
      results[`wait: ${step.name}`] = `not within ${WAIT_LIMIT_MS} ms`;
    }
  }
  return results;
}

/** An operation that comes twice in a scenario is numbered. */
function unused(name: string, results: Readonly<Record<string, unknown>>): string {
  if (!Object.hasOwn(results, name)) return name;
  let count = 2;
  while (Object.hasOwn(results, `${name} (${count})`)) count++;
  return `${name} (${count})`;
}

async function holds(wait: Wait, engine: Engine): Promise<boolean> {
  const endMs = performance.now() + WAIT_LIMIT_MS;
  while (!(await wait.until(engine))) {
    if (performance.now() > endMs) return false;
    await sleep(WAIT_PERIOD_MS);
  }
  return true;
}

interface Named {
  readonly ID?: string;
  readonly Id?: string;
  readonly Name?: string;
  readonly Spec?: { readonly Name?: string };
}

/** Names of everything that may be referred to by id; nodes are all called `node`. */
async function namesOf(engine: Engine): Promise<ReadonlyMap<string, string>> {
  const names = new Map<string, string>();
  for (const path of ['/services', '/networks', '/secrets', '/configs']) {
    for (const { ID, Id, Name, Spec } of await engine.get<readonly Named[]>(path)) {
      names.set(ID ?? Id ?? '', Spec?.Name ?? Name ?? '');
    }
  }
  for (const { ID } of await engine.get<readonly Named[]>('/nodes')) names.set(ID ?? '', 'node');
  return names;
}
