/** When a task is prepared, its node has what it needs: secrets, configs, networks, its own seat in them. */
import type { Task } from '../../../../common/model/task.ts';
import type { Dependencies } from '../../../../worker/executor/executor.ts';
import { expect } from '../../checker.ts';
import type { ClusterChecker } from '../checker.ts';
import type { NodeTables } from '../containers.ts';
import type { Host } from '../host.ts';
import type { ClusterWorld } from '../world.ts';

export class NodeHasNeeds implements ClusterChecker {
  readonly number = 8;
  readonly name = 'a node has what its tasks need, before they are prepared';
  readonly #world: ClusterWorld;

  constructor(world: ClusterWorld) {
    this.#world = world;
  }

  preparing(host: Host, task: Task, dependencies: Dependencies, tables: NodeTables): void {
    const stored = this.#world.view((view) => view.get('task', task.id));
    if (!stored || stored.desiredState === 'shutdown' || stored.desiredState === 'remove') return;
    for (const { secretId } of task.spec.container.secrets) {
      const exists = this.#world.view((view) => view.get('secret', secretId)) !== undefined;
      expect(!exists || dependencies.secret(secretId) !== undefined, () => {
        return `task ${task.id} is prepared on machine ${host.id} without secret ${secretId}`;
      });
    }
    for (const { configId } of task.spec.container.configs) {
      const exists = this.#world.view((view) => view.get('config', configId)) !== undefined;
      expect(!exists || dependencies.config(configId) !== undefined, () => {
        return `task ${task.id} is prepared on machine ${host.id} without config ${configId}`;
      });
    }
    for (const { networkId } of task.networks) {
      for (const key of [`network ${networkId}`, `endpoint ${networkId}/${task.id}`]) {
        expect(
          tables.has(key),
          () => `task ${task.id} is prepared on machine ${host.id} without ${key}`,
        );
      }
    }
  }
}
