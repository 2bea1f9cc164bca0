import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import { TaskDatabase, type TaskRecord } from '../../../worker/agent/task-database.ts';
import { aContainerSpec, aTask, aTaskSpec, aTaskStatus } from '../../support/builders.ts';
import { settle } from '../../support/fake-clock.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const folder = temporaryFolders();

function record(state: TaskRecord['status']['state'] = 'accepted'): TaskRecord {
  return { task: aTask(), status: aTaskStatus({ state }) };
}

async function opened(dir?: string): Promise<{ database: TaskDatabase; dir: string }> {
  const at = dir ?? (await folder());
  const database = new TaskDatabase(at, silentLogger);
  await database.load();
  return { database, dir: at };
}

async function reloaded(dir: string): Promise<TaskRecord[]> {
  return new TaskDatabase(dir, silentLogger).load();
}

describe('task database', () => {
  test('begins empty and makes its folder', async () => {
    const dir = join(await folder(), 'agent', 'tasks');
    expect(await reloaded(dir)).toEqual([]);
    expect(await readdir(dir)).toEqual([]);
  });

  test('has after a restart what was put, without what was removed', async () => {
    const { database, dir } = await opened();
    const [kept, gone] = [record(), record()];
    await database.put(kept);
    await database.put(gone);
    await database.remove(gone.task.id);
    expect(await reloaded(dir)).toEqual([kept]);
  });

  test('keeps the newest of several records of one task', async () => {
    const { database, dir } = await opened();
    const first = record('preparing');
    const last = { ...first, status: aTaskStatus({ state: 'running' }) };
    void database.put(first);
    await database.put(last);
    expect(await reloaded(dir)).toEqual([last]);
  });

  test('a removal wins over a record that was put before it', async () => {
    const { database, dir } = await opened();
    const it = record();
    void database.put(it);
    void database.remove(it.task.id);
    await database.flushed();
    expect(await readdir(dir)).toEqual([]);
  });

  test('writes the newest record of a task also when it came while others were written', async () => {
    const { database, dir } = await opened();
    const [first, second] = [record('preparing'), record('preparing')];
    const newer = { ...second, status: aTaskStatus({ state: 'running' }) };
    void database.put(first);
    void database.put(second);
    await settle(); // the first one is being written, the second one waits
    await database.put(newer);
    expect(await reloaded(dir)).toContainEqual(newer);
  });

  test('a record put in the very turn in which a write ends is written', async () => {
    const { database, dir } = await opened();
    const [first, second] = [record(), record()];
    const writing = database.put(first);
    const chained = writing.then(() => database.put(second));
    await chained;
    await database.flushed();
    expect(await reloaded(dir)).toHaveLength(2);
  });

  test('leaves out a damaged file and keeps the others', async () => {
    const { database, dir } = await opened();
    const it = record();
    await database.put(it);
    await writeFile(join(dir, 'torn.json'), '{"task":{"id"');
    expect(await reloaded(dir)).toEqual([it]);
  });

  test.each([
    ['an empty object', '{}'],
    ['null', 'null'],
    ['a record without status', '{"task":{"id":"x"}}'],
    ['a record without task', '{"status":{"state":"running"}}'],
    ['a state that is none', '{"task":{"id":"x"},"status":{"state":"dancing"}}'],
  ])('leaves out %s', async (_what, text) => {
    const dir = await folder();
    await writeFile(join(dir, 'x.json'), text);
    expect(await reloaded(dir)).toEqual([]);
  });

  test('replaces a file by rename: what a crash left half-written does not count', async () => {
    const { database, dir } = await opened();
    const it = record();
    await database.put(it);
    await writeFile(join(dir, `${it.task.id}.json.new`), '{"task":');
    expect(await reloaded(dir)).toEqual([it]);
    expect(await readdir(dir)).toEqual([`${it.task.id}.json`]);
  });

  test('never writes registry credentials', async () => {
    const { database, dir } = await opened();
    const container = aContainerSpec({ registryAuth: 'c2VjcmV0' });
    const task = aTask({ spec: aTaskSpec({ container }) });
    await database.put({ task, status: aTaskStatus() });
    const text = await readFile(join(dir, `${task.id}.json`), 'utf8');
    expect(text).not.toContain('c2VjcmV0');
    const [read] = await reloaded(dir);
    expect(read?.task.spec.container.registryAuth).toBeNull();
  });

  test('reports a disk that refuses', async () => {
    const { database, dir } = await opened();
    const it = record();
    await mkdir(join(dir, `${it.task.id}.json.new`));
    await expect(database.put(it)).rejects.toThrow(/EISDIR/);
  });
});
