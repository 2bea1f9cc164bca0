/** Pages and comments point at what is there, and no merge is left half done. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const TEXT = /\.(?:ts|mjs|c|h|md|proto|json|ya?ml)$/;

const NOT_OURS = new Set(['node_modules', 'dist', 'gen', 'build', '.git']);

function filesBelow(dir: string): string[] {
  return readdirSync(join(root, dir), { withFileTypes: true }).flatMap((entry) => {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) return NOT_OURS.has(entry.name) ? [] : filesBelow(path);
    return entry.isFile() && TEXT.test(entry.name) ? [path] : [];
  });
}

const files = filesBelow('.').map((path) => ({
  path,
  text: readFileSync(join(root, path), 'utf8'),
}));

const CONFLICT = /^(?:<{7} |>{7} |={7}$)/m;
/** The target of a link, without its anchor. */
const LINK = /\]\(([^)\s#]+)(?:#[^)\s]*)?\)/g;
/** A page by its path from the root, as comments cite it; decisions also by their number. */
const CITED = /\bdocs\/[\w/-]+(?:\.md|\.yaml)?\b/g;
/** A page that has no folder: it must be one of those that stand at the root or in docs. */
const BARE = /(?<![\w/.-])[a-z][\w-]*\.md\b/gi;
/** A chapter by its number, which no page of ours has: `some-page 2.3` in brackets. */
const CHAPTER = /\((?:[a-z]+-)+[a-z]+ \d+(?:\.\d+)+/g;

function matches(pattern: RegExp, text: string): string[] {
  return [...text.matchAll(pattern)].map((match) => match[1] ?? match[0]);
}

const pageNames = new Set(files.map(({ path }) => path.slice(path.lastIndexOf('/') + 1)));
const decisions = files.filter(({ path }) => path.startsWith('docs/decisions/'));

function isThere(cited: string): boolean {
  if (existsSync(join(root, cited))) return true;
  return decisions.some(({ path }) => path.startsWith(`${cited}-`));
}

describe('pages', () => {
  test('are looked at', () => {
    expect(files.length).toBeGreaterThan(500);
    expect(decisions.length).toBeGreaterThan(20);
  });

  test('have no rest of a merge', () => {
    expect(files.filter(({ text }) => CONFLICT.test(text)).map(({ path }) => path)).toEqual([]);
  });

  test('link to files that exist', () => {
    const pages = files.filter(({ path }) => path.endsWith('.md'));
    const broken = pages.flatMap(({ path, text }) =>
      matches(LINK, text)
        .filter((target) => !/^[a-z]+:/.test(target))
        .filter((target) => !existsSync(join(root, dirname(path), target)))
        .map((target) => `${path}: ${target}`),
    );
    expect(broken).toEqual([]);
  });

  test('that comments cite exist', () => {
    const sources = files.filter(({ path }) => /\.(?:ts|mjs|c|h|proto)$/.test(path));
    const missing = sources.flatMap(({ path, text }) =>
      [
        ...matches(CITED, text).filter((cited) => !isThere(cited)),
        ...matches(BARE, text).filter((name) => !pageNames.has(name)),
        ...matches(CHAPTER, text),
      ].map((cited) => `${path}: ${cited}`),
    );
    expect(missing).toEqual([]);
  });
});
