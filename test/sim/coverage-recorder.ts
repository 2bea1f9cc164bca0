/** What V8 counted in this process for the files of the Raft core. Knows nothing of branches. */
import { Session } from 'node:inspector/promises';

/** Counts are per range of the script that ran, innermost last. */
export interface FileCoverage {
  readonly file: string;
  /** The script as it ran, with its source map. */
  readonly script: string;
  readonly ranges: readonly CountedRange[];
}

export interface CountedRange {
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

const CORE = '/manager/raft/';

export class CoverageRecorder {
  #session: Session | null = null;

  async start(): Promise<void> {
    const session = new Session();
    session.connect();
    await session.post('Profiler.enable');
    await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
    this.#session = session;
  }

  /** Ends the recording. */
  async take(): Promise<FileCoverage[]> {
    const session = this.#session;
    if (session === null) return [];
    const { result } = await session.post('Profiler.takePreciseCoverage');
    await session.post('Debugger.enable');
    const files: FileCoverage[] = [];
    for (const { url, scriptId, functions } of result) {
      const at = url.indexOf(CORE);
      if (at < 0) continue;
      const { scriptSource } = await session.post('Debugger.getScriptSource', { scriptId });
      const ranges = functions.flatMap((one) =>
        one.ranges.map(({ startOffset, endOffset, count }) => {
          return { from: startOffset, to: endOffset, count };
        }),
      );
      files.push({ file: url.slice(at + 1).split('?')[0]!, script: scriptSource, ranges });
    }
    session.disconnect();
    this.#session = null;
    return files;
  }
}
