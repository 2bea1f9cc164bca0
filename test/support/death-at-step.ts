/**
 * Lets this process die as by kill -9 at a step of what it does: before a call of the native library (netlink, sysctl,
 * namespace, mount) or a change of a file. Import first: functions of the library are declared at their first use.
 */
import { promises } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { libskep } from '../../native/ffi/library.ts';

const FILE_CHANGES = ['mkdir', 'open', 'rename', 'rm', 'rmdir', 'unlink', 'writeFile'] as const;

/** Until the death; Infinity = lives on. */
let stepsLeft = Number.POSITIVE_INFINITY;

/** @param step 1 = the next one */
export function dieAtStep(step: number): void {
  stepsLeft = step;
}

function count(): void {
  stepsLeft -= 1;
  if (stepsLeft === 0) process.kill(process.pid, 'SIGKILL');
}

type AnyFunction = (...args: unknown[]) => unknown;

function counted(of: object, name: string): void {
  const functions = of as Record<string, AnyFunction>;
  const original = functions[name] as AnyFunction;
  functions[name] = (...args) => {
    count();
    return original.apply(of, args);
  };
}

const library = libskep();
const declare = library.func.bind(library) as AnyFunction;
Object.defineProperty(library, 'func', {
  value: (...args: unknown[]) => {
    const call = declare(...args) as object;
    counted(call, 'async');
    return call;
  },
});
for (const name of FILE_CHANGES) counted(promises, name);
syncBuiltinESMExports();
