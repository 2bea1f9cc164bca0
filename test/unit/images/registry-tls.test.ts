import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TlsContexts } from '../../../worker/images/registry-tls.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const folder = temporaryFolders();

test('what is known of the hosts that a registry leads to is bounded', async () => {
  let forgotten = 0;
  const contexts = new TlsContexts('registry.test', [await folder()], () => forgotten++);
  const first = contexts.of('registry.test');
  for (let i = 1; i < 16; i++) contexts.of(`store-${i}.test`);
  expect(contexts.of('registry.test')).toBe(first);
  expect(forgotten).toBe(0);
  contexts.of('one-more.test');
  expect(forgotten).toBe(1);
  expect(contexts.of('registry.test')).not.toBe(first);
});

test('changed files count from the next connection on', async () => {
  const dir = await folder();
  let forgotten = 0;
  const contexts = new TlsContexts('registry.test', [dir], () => forgotten++);
  const first = contexts.of('registry.test');
  await mkdir(join(dir, 'registry.test'));
  await writeFile(join(dir, 'registry.test/ca.crt'), '');
  expect(contexts.of('registry.test')).not.toBe(first);
  expect(forgotten).toBe(1);
});
