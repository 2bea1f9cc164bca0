/** 2,000 lists of 10 services a second on one connection that is kept, sent whether or not the last one was answered. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { figure, say } from '../support/report.ts';
import { percentile } from '../support/statistics.ts';
import { sleepMs } from '../support/wait.ts';
import { type BenchEngine, sleeper, withSkep } from './engines.ts';

const SERVICES = 10;
const PER_SECOND = 2_000;
const WARM_S = 3;
const SECONDS = 10;
const REQUEST = 'GET /v1.41/services HTTP/1.1\r\nHost: engine\r\n\r\n';
const HEAD_END = '\r\n\r\n';

export async function rate(): Promise<void> {
  await withSkep(async (skep) => {
    await fill(skep);
    const socket = connect(skep.socketPath);
    await once(socket, 'connect');
    await load(socket, WARM_S);
    const latencies = await load(socket, SECONDS);
    socket.destroy();
    say(`${latencies.length / SECONDS} lists/s, p50 ${percentile(latencies, 0.5).toFixed(2)} ms`);
    figure('list_p50_ms', percentile(latencies, 0.5));
    figure('list_p99_ms', percentile(latencies, 0.99));
  });
}

async function fill({ api }: BenchEngine): Promise<void> {
  for (let i = 0; i < SERVICES; i++) {
    const spec = sleeper(`service-${i}`, 1, ['node.labels.nowhere==here']);
    const { status } = await api.call('POST', '/services/create', spec);
    if (status !== 201) throw new Error(`services/create: ${status}`);
  }
}

/** Milliseconds from the moment when each request was due to the end of its answer. */
async function load(socket: Socket, seconds: number): Promise<number[]> {
  const latencies: number[] = [];
  const beganMs = performance.now();
  const dueMs = (index: number): number => beganMs + (index * 1_000) / PER_SECOND;
  const answered = (): void => {
    latencies.push(performance.now() - dueMs(latencies.length));
  };
  const answers = answerCounter(answered);
  socket.on('data', answers);
  const total = PER_SECOND * seconds;
  for (let sent = 0; sent < total; ) {
    while (sent < total && dueMs(sent) <= performance.now()) {
      socket.write(REQUEST);
      sent += 1;
    }
    await sleepMs(1);
  }
  const limitMs = performance.now() + 30_000;
  while (latencies.length < total) {
    if (performance.now() > limitMs) throw new Error(`${latencies.length} of ${total} answers`);
    await sleepMs(5);
  }
  socket.off('data', answers);
  return latencies;
}

/** Calls `answered` at the end of each answer that has a `Content-Length`. */
function answerCounter(answered: () => void): (chunk: Buffer) => void {
  let head = '';
  let bodyLeft = 0;
  return (chunk) => {
    let at = 0;
    while (at < chunk.length) {
      if (bodyLeft > 0) {
        const taken = Math.min(bodyLeft, chunk.length - at);
        at += taken;
        bodyLeft -= taken;
        if (bodyLeft === 0) answered();
        continue;
      }
      const before = head.length;
      head += chunk.toString('latin1', at);
      const end = head.indexOf(HEAD_END);
      if (end < 0) return;
      at += end + HEAD_END.length - before;
      bodyLeft = lengthIn(head.slice(0, end));
      head = '';
    }
  };
}

function lengthIn(head: string): number {
  const length = Number(/^content-length: (\d+)/im.exec(head)?.[1]);
  if (!head.startsWith('HTTP/1.1 200') || !(length > 0)) throw new Error(`answered ${head}`);
  return length;
}
