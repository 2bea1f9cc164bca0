/** The memory of a manager with 1,000 nodes and 100,000 running tasks. */
import { fileURLToPath } from 'node:url';
import { HelperProcess } from '../support/helper-process.ts';
import { figure } from '../support/report.ts';
import type { ManagerOperations } from './manager-process.ts';

export async function memory(): Promise<void> {
  const module = fileURLToPath(new URL('manager-process.js', import.meta.url));
  const manager = new HelperProcess<ManagerOperations>(module);
  const size = { nodes: 1_000, services: 100, tasksEach: 1_000 };
  figure('rss_100k_tasks_mb', await manager.ask('residentWith', size));
}
