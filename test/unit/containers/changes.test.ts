import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { changesOf } from '../../../worker/containers/changes.ts';
import type { RootLayers } from '../../../worker/runtime/native-runtime.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const makeFolder = temporaryFolders();
let taskDir: string;
let lower: string;

beforeEach(async () => {
  taskDir = await makeFolder();
  lower = await makeFolder();
  mkdirSync(join(taskDir, 'upper'));
});

const layers = (): RootLayers => ({ taskDir, lowerDirs: [lower], mounts: [], devices: [] });

function put(root: string, path: string): void {
  mkdirSync(join(root, path, '..'), { recursive: true });
  writeFileSync(join(root, path), path);
}

test('what was written over the image is modified, what it did not have is added', async () => {
  put(lower, 'etc/hosts.conf');
  const upper = join(taskDir, 'upper');
  put(upper, 'etc/hosts.conf');
  put(upper, 'data/deep/file');
  const clock = { monotonicMs: () => 0 };
  expect(await changesOf(layers(), clock)).toEqual([
    { path: '/data', kind: 'added' },
    { path: '/data/deep', kind: 'added' },
    { path: '/data/deep/file', kind: 'added' },
    { path: '/etc', kind: 'modified' },
    { path: '/etc/hosts.conf', kind: 'modified' },
  ]);
});

test('many changes are found in short turns', async () => {
  for (let i = 0; i < 100; i++) put(join(taskDir, 'upper'), `many/${i}`);
  let nowMs = 0;
  const clock = { monotonicMs: () => nowMs++ }; // each look at it, and so each step, takes 1 ms
  let turns = 0;
  let isOver = false;
  const count = (): void => {
    turns++;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  expect(await changesOf(layers(), clock)).toHaveLength(101);
  isOver = true;
  expect(turns).toBeGreaterThan(30);
});
