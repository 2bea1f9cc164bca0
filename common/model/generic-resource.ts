/** Generic resources in words: as a node is told of them, and as a task is told what it got. */
import { SkepError } from '../base/errors.ts';
import type { GenericResource } from './service.ts';

const KIND = /^[A-Za-z0-9_.-]+$/;

/**
 * `gpu=UUID1`, `gpu=UUID2` (named: each value once) or `ssd=3` (a count); several may stand in one text,
 * separated by commas. Throws `invalid-argument`: also for a kind that is told both ways, or twice.
 */
export function parseGenericResources(texts: readonly string[]): readonly GenericResource[] {
  const resources = texts.flatMap((text) => text.split(',').map(parseOne));
  for (const [at, { kind, value }] of resources.entries()) {
    const before = resources.slice(0, at).filter((other) => other.kind === kind);
    const clashes = before.some(
      (other) =>
        typeof other.value === 'number' || typeof value === 'number' || other.value === value,
    );
    if (clashes) throw invalid(`${kind}=${value}`, 'each kind is one count, or values that differ');
  }
  return resources;
}

function parseOne(text: string): GenericResource {
  const at = text.indexOf('=');
  const [kind, value] = [text.slice(0, Math.max(0, at)).trim(), text.slice(at + 1).trim()];
  if (!KIND.test(kind) || value === '') throw invalid(text, 'expected KIND=COUNT or KIND=VALUE');
  if (!/^-?\d+$/.test(value)) return { kind, value };
  const count = Number(value);
  if (!Number.isSafeInteger(count) || count < 1) throw invalid(text, 'a count is at least 1');
  return { kind, value: count };
}

function invalid(text: string, rule: string): SkepError {
  return new SkepError('invalid-argument', `generic resource '${text}': ${rule}`);
}

/** `DOCKER_RESOURCE_GPU=UUID1,UUID2` for each kind that a task got: Docker's form. */
export function genericResourceEnvironment(assigned: readonly GenericResource[]): string[] {
  const byKind = new Map<string, (string | number)[]>();
  for (const { kind, value } of assigned) byKind.set(kind, [...(byKind.get(kind) ?? []), value]);
  return Array.from(
    byKind,
    ([kind, values]) => `DOCKER_RESOURCE_${kind.toUpperCase()}=${values.join(',')}`,
  );
}
