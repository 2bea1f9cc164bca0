/**
 * Runs Raft scenario scripts against our core and tells what came out otherwise than written. Three
 * kinds, told apart by their directives: whole groups of nodes, membership changes, quorums.
 */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AssertionError } from '../../common/base/assert.ts';
import {
  type Directive,
  type DirectiveResult,
  readDirectives,
  rewriteScript,
  runScript,
} from './datadriven.ts';
import { diffLines } from './line-diff.ts';
import { MembershipScript } from './raft-confchange-script.ts';
import { handleInteraction } from './raft-directives.ts';
import { RaftInteraction } from './raft-interaction.ts';
import { handleQuorumDirective } from './raft-quorum-script.ts';

/** The folder or a script cannot be used; the message is for the person who named it. */
export class ScriptInputError extends Error {}

export interface ScriptFailure {
  readonly path: string;
  readonly line: number;
  readonly command: string;
  /** Lines that begin with `-` (expected), `+` (came out) or a space. */
  readonly diff: string;
}

export interface ScriptReport {
  readonly path: string;
  readonly directives: number;
  readonly failures: readonly ScriptFailure[];
}

export interface CheckOptions {
  /** Log lines count too; without it they are taken out on both sides. */
  readonly exact: boolean;
}

/** All scripts in `folder` and below, in order of their paths. Never empty. */
export function findScripts(folder: string): string[] {
  const entry = statSync(folder, { throwIfNoEntry: false });
  if (entry === undefined) throw new ScriptInputError(`${folder}: no such folder`);
  if (!entry.isDirectory()) throw new ScriptInputError(`${folder}: not a folder`);
  const scripts = textFiles(folder).filter(isScript);
  if (scripts.length === 0) {
    throw new ScriptInputError(`${folder}: holds no scenario script (*.txt with directives)`);
  }
  return scripts;
}

export function checkScript(path: string, { exact }: CheckOptions): ScriptReport {
  const results = run(path);
  const failures = results.flatMap(({ directive, output }): ScriptFailure[] => {
    const { line, command, expected } = directive;
    const wanted = exact ? expected : withoutLogLines(expected);
    const actual = exact ? output : withoutLogLines(output);
    if (wanted === actual) return [];
    return [{ path, line, command, diff: diffLines(wanted, actual) }];
  });
  return { path, directives: results.length, failures };
}

/** Writes what comes out into the script. True when that changed it. */
export function regenerateScript(path: string): boolean {
  const before = readFileSync(path, 'utf8');
  const results = run(path);
  const ended = results.find(({ output }) => /^ *panic: /m.test(output));
  if (ended !== undefined) {
    const { directive, output } = ended;
    throw new ScriptInputError(`${path}:${directive.line}: ${directive.command}: ${output.trim()}`);
  }
  const after = rewriteScript(before, results);
  if (after === before) return false;
  writeFileSync(path, after);
  return true;
}

function run(path: string): DirectiveResult[] {
  const handle = suiteOf(readDirectives(path));
  return runScript(path, (directive) => {
    try {
      return handle(directive);
    } catch (err) {
      // An assertion of the core is an outcome like another: it shows in the diff.
      if (err instanceof AssertionError) return `panic: ${err.message}\n`;
      throw new ScriptInputError(`${path}:${directive.line}: ${directive.command}`, { cause: err });
    }
  });
}

function suiteOf(directives: readonly Directive[]): (directive: Directive) => string {
  switch (directives[0]?.command) {
    case 'committed':
    case 'vote':
      return handleQuorumDirective;
    case 'simple':
    case 'enter-joint':
    case 'leave-joint': {
      const script = new MembershipScript();
      return (directive) => script.handle(directive);
    }
    default: {
      const group = new RaftInteraction();
      return (directive) => handleInteraction(group, directive);
    }
  }
}

function textFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return textFiles(path);
      return entry.name.endsWith('.txt') ? [path] : [];
    });
}

function isScript(path: string): boolean {
  return /^----$/m.test(readFileSync(path, 'utf8'));
}

/** `ok` is what a directive says that printed nothing. */
function withoutLogLines(output: string): string {
  const lines = output.split('\n').filter((line) => !/^\s*(DEBUG|INFO|WARN|ERROR) /.test(line));
  const text = lines.join('\n');
  return text === '' ? 'ok\n' : text;
}
