import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { ProcessSignals } from '../../../cli/process-signals.ts';

function make() {
  const source = new EventEmitter();
  const exits: number[] = [];
  const signals = new ProcessSignals(source, (status) => exits.push(status));
  return { source, exits, signals, send: (name: string) => source.emit(name, name) };
}

test('the first Ctrl-C aborts, the second ends the process', () => {
  const { exits, signals, send } = make();
  send('SIGINT');
  expect([signals.interrupted.aborted, exits]).toEqual([true, []]);
  send('SIGINT');
  expect(exits).toEqual([130]);
});

test('taken signals are delivered and abort nothing, until they are released', () => {
  const { source, exits, signals, send } = make();
  const got: string[] = [];
  const release = signals.take((name) => got.push(name));
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1']) send(name);
  expect(got).toEqual(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1']);
  expect([signals.interrupted.aborted, exits]).toEqual([false, []]);
  release();
  expect(source.listenerCount('SIGTERM')).toBe(0);
  send('SIGINT');
  expect([signals.interrupted.aborted, got.length]).toEqual([true, 4]);
});

test('the third that ends a process ends this one, also while they are taken', () => {
  const { exits, signals, send } = make();
  const got: string[] = [];
  signals.take((name) => got.push(name));
  for (const name of ['SIGINT', 'SIGHUP', 'SIGTERM', 'SIGINT']) send(name);
  expect([got, exits]).toEqual([['SIGINT', 'SIGHUP', 'SIGTERM'], [1]]);
});
