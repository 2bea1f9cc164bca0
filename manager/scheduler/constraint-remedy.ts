/** What would make a node meet all constraints of a service at once: labels for it, and constraints to drop. */
import { type Constraint, nodeMeetsConstraint } from '../../common/model/constraint.ts';
import type { Node } from '../../common/model/node.ts';

export interface ConstraintRemedy {
  /** as an order to the reader */
  readonly words: string;
  /** labels that change and constraints that go */
  readonly changes: number;
}

/** Labels can be given; what else a node is it stays. @param name of the node */
export function constraintRemedy(
  node: Node,
  name: string,
  constraints: readonly Constraint[],
): ConstraintRemedy {
  const flags: string[] = [];
  const dropped: Constraint[] = [];
  for (const [label, same] of byLabel(constraints)) {
    const { value, unmet } =
      label === null ? { value: null, unmet: unmetBy(node, same) } : bestValue(node, label, same);
    if (value !== null) flags.push(value === '' ? `--label-rm ${label}` : labelFlag(label!, value));
    dropped.push(...unmet);
  }
  const command = flags.length > 0 ? [`skep node update ${flags.join(' ')} ${name}`] : [];
  const drops = dropped.map((one) => `drop the constraint ${constraintText(one)}`);
  return { words: [...command, ...drops].join(' and '), changes: flags.length + drops.length };
}

export function constraintText({ key, operator, value }: Constraint): string {
  return `${key}${operator}${value}`;
}

/** Those on one label together, for it has one value; null = those on anything else. */
function byLabel(constraints: readonly Constraint[]): Map<string | null, Constraint[]> {
  const groups = new Map<string | null, Constraint[]>();
  for (const one of constraints) {
    const label = /^node\.labels\.(.+)$/i.exec(one.key)?.[1] ?? null;
    const group = groups.get(label);
    if (group) group.push(one);
    else groups.set(label, [one]);
  }
  return groups;
}

function unmetBy(node: Node, constraints: readonly Constraint[]): Constraint[] {
  return constraints.filter((one) => !nodeMeetsConstraint(node, one));
}

/**
 * The value that leaves the fewest constraints unmet, to be given or ('') taken away; null = the one it has. Of equals
 * one that is asked for: who wrote the constraint meant it.
 */
function bestValue(
  node: Node,
  label: string,
  constraints: readonly Constraint[],
): { readonly value: string | null; readonly unmet: Constraint[] } {
  const asked = constraints.filter(({ operator }) => operator === '==').map(({ value }) => value);
  const options = [...asked, '', null].map((value) => {
    const unmet = unmetBy(value === null ? node : withLabel(node, label, value), constraints);
    return { value, unmet, changes: unmet.length + (value === null ? 0 : 1) };
  });
  return options.reduce((best, option) => (option.changes < best.changes ? option : best));
}

function withLabel({ spec, ...node }: Node, label: string, value: string): Node {
  const { [label]: _, ...others } = spec.labels;
  const labels = value === '' ? others : { ...others, [label]: value };
  return { ...node, spec: { ...spec, labels } };
}

/** As a shell reads it: values may have blanks and the like, though no quotes. */
function labelFlag(label: string, value: string): string {
  const pair = `${label}=${value}`;
  return `--label-add ${/[^\w.:/+=-]/.test(pair) ? `'${pair}'` : pair}`;
}
