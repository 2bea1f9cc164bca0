import { expect, test } from 'vitest';
import { silentLogger } from '../../../common/base/log.ts';
import type { ServiceId } from '../../../common/model/ids.ts';
import { ServiceOrchestrator } from '../../../manager/orchestrator/service-orchestrator.ts';
import { aService, aServiceSpec } from '../../support/builders.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import { makeStore, type TestStore } from '../../support/store.ts';

/** Each plan takes `planMs` on it: it is looked at before and after. */
class BusyClock extends FakeClock {
  planMs = 0;
  #spentMs = 0;

  override monotonicMs(): number {
    this.#spentMs += this.planMs;
    return super.monotonicMs() + this.#spentMs;
  }
}

async function scale(made: TestStore, id: ServiceId, replicas: number): Promise<void> {
  await made.store.update((tx) => {
    const service = tx.require('service', id);
    const spec = aServiceSpec({ ...service.spec, mode: { kind: 'replicated', replicas } });
    tx.update('service', { ...service, spec });
  });
  await settle();
}

test('after a plan that took long the next one waits four times as long, for all that comes', async () => {
  const made = makeStore();
  const clock = new BusyClock();
  const failures: unknown[] = [];
  const orchestrator = new ServiceOrchestrator({
    ...made,
    clock,
    log: silentLogger,
    onFailure: (err) => failures.push(err),
  });
  orchestrator.start();
  await settle();
  const count = (): number => made.store.view((view) => view.count('task'));
  const service = aService({ spec: aServiceSpec({ mode: { kind: 'replicated', replicas: 1 } }) });
  await made.store.update((tx) => void tx.create('service', service));
  await settle();
  expect(count()).toBe(1);

  // Short plans follow one another at once.
  await scale(made, service.id, 2);
  await scale(made, service.id, 3);
  expect(count()).toBe(3);

  clock.planMs = 20;
  await scale(made, service.id, 4);
  expect(count()).toBe(4);
  await scale(made, service.id, 5);
  await scale(made, service.id, 6);
  await clock.advance(79);
  expect(count()).toBe(4);
  await clock.advance(1);
  expect(count()).toBe(6);

  // Half a second at most.
  clock.planMs = 0;
  await clock.advance(1_000);
  clock.planMs = 5_000;
  await scale(made, service.id, 7);
  await scale(made, service.id, 8);
  await clock.advance(499);
  expect(count()).toBe(7);
  await clock.advance(1);
  expect(count()).toBe(8);
  await orchestrator.stop();
  expect([failures, clock.pending]).toEqual([[], 0]);
});
