/** CPU profiles of a process that a benchmark runs, between two moments of its choice. For Chrome's developer tools. */
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';

/** Shorter than V8's 1 ms: what is to be seen takes microseconds. */
const SAMPLING_PERIOD_US = 200;

let session: Session | null = null;

function post(method: string, params: object = {}): Promise<object | undefined> {
  return new Promise((resolve, reject) => {
    session!.post(method, params, (err, result) => (err ? reject(err) : resolve(result)));
  });
}

export async function startProfile(): Promise<void> {
  session = new Session();
  session.connect();
  await post('Profiler.enable');
  await post('Profiler.setSamplingInterval', { interval: SAMPLING_PERIOD_US });
  await post('Profiler.start');
}

/** Writes what was taken since `startProfile` to `file` (.cpuprofile). */
export async function stopProfile(file: string): Promise<void> {
  const result = (await post('Profiler.stop')) as { readonly profile: unknown };
  writeFileSync(file, JSON.stringify(result.profile));
  session!.disconnect();
  session = null;
}
