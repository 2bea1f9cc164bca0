/** A fresh process that loads stack files, as the command does: its first load is a cold one. */
import { loadStack } from '../../cli/compose/load-stack.ts';
import { serve } from '../support/helper-process.ts';

const operations = {
  /** milliseconds from the text to the specs */
  load(text: string): number {
    const startMs = performance.now();
    const { stack } = loadStack({
      name: 'bench',
      files: [{ path: 'stack.yml', location: '/stack.yml', text }],
      dir: '/',
      env: {},
      envFiles: [],
      profiles: [],
      readFile: () => new Uint8Array(0),
      fixWhitespace: false,
      interpolate: true,
      ignoreRefused: false,
    });
    if (stack.services.length === 0) throw new Error('nothing was loaded');
    return performance.now() - startMs;
  },
};

export type ParseOperations = typeof operations;
serve(operations);
