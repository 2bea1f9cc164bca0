/** Asks one nameserver one question, from any namespace. Knows nothing of what is asked. */
import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { isIPv6, Socket, type SocketConstructorOpts } from 'node:net';
import type { Clock } from '../../common/base/clock.ts';
import type { Random } from '../../common/base/random.ts';
import { bindInNetns, closeFd, OWN_NAMESPACE } from '../../native/ffi/net/sockets.ts';

const DNS_PORT = 53;

export class DnsAsker {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #timeoutMs: number;

  constructor(clock: Clock, random: Random, timeoutMs: number) {
    this.#clock = clock;
    this.#random = random;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * null = no usable answer in time. A fresh port and id per query: answers are hard to forge. Never rejects.
   * @param nsPath from where; '' = the daemon's own namespace
   */
  async ask(
    query: Buffer,
    server: string,
    transport: 'udp' | 'tcp',
    nsPath: string,
  ): Promise<Buffer | null> {
    const outgoing = Buffer.from(query);
    outgoing.writeUInt16BE(this.#random.below(0x10000), 0);
    const ask = transport === 'udp' ? this.#askUdp : this.#askTcp;
    // Rejects where the namespace is gone.
    const answer = await ask.call(this, outgoing, server, nsPath).catch(() => null);
    answer?.writeUInt16BE(query.readUInt16BE(0), 0);
    return answer;
  }

  async #askUdp(outgoing: Buffer, server: string, nsPath: string): Promise<Buffer | null> {
    const socket = await openDatagram(server, nsPath);
    return this.#first(
      (finish) => {
        socket.on('error', () => finish(null));
        socket.on('message', (message) => {
          if (answers(message, outgoing)) finish(message);
        });
        // Called with an error, too: no route to it, for one.
        socket.connect(DNS_PORT, server, (err?: unknown) => {
          if (err) finish(null);
          else socket.send(outgoing);
        });
      },
      () => socket.close(),
    );
  }

  async #askTcp(outgoing: Buffer, server: string, nsPath: string): Promise<Buffer | null> {
    const socket = await openStream(server, nsPath);
    const frames = new DnsFrames();
    return this.#first(
      (finish) => {
        socket.on('error', () => finish(null));
        socket.on('close', () => finish(null));
        socket.on('data', (chunk) => {
          for (const message of frames.push(chunk)) {
            if (answers(message, outgoing)) finish(message);
          }
        });
        // Not before somebody hears of errors: one that the kernel tells at once would be nobody's.
        socket.connect({ host: server, port: DNS_PORT });
        socket.write(frameOf(outgoing));
      },
      () => socket.destroy(),
    );
  }

  /** What `begin` finishes with first; null when the time is over. */
  #first(
    begin: (finish: (answer: Buffer | null) => void) => void,
    close: () => void,
  ): Promise<Buffer | null> {
    return new Promise((resolve) => {
      let done = false;
      const finish = (answer: Buffer | null): void => {
        if (done) return;
        done = true;
        timer.cancel();
        close();
        resolve(answer);
      };
      const timer = this.#clock.setTimer(this.#timeoutMs, () => finish(null));
      begin(finish);
    });
  }
}

async function openDatagram(server: string, nsPath: string): Promise<DatagramSocket> {
  const fd = nsPath === OWN_NAMESPACE ? null : await bindInNetns(nsPath, 'udp', anyOf(server), 0);
  const socket = createSocket(isIPv6(server) ? 'udp6' : 'udp4');
  if (fd === null) return socket;
  try {
    return socket.bind({ fd, exclusive: true });
  } catch (err) {
    closeFd(fd);
    socket.close();
    throw err;
  }
}

/** Not connected yet. */
async function openStream(server: string, nsPath: string): Promise<Socket> {
  if (nsPath === OWN_NAMESPACE) return new Socket();
  const fd = await bindInNetns(nsPath, 'tcp', anyOf(server), 0);
  // Reading from it begins when it is connected.
  const options = { fd, readable: true, writable: true, manualStart: true };
  try {
    return new Socket(options as SocketConstructorOpts);
  } catch (err) {
    closeFd(fd);
    throw err;
  }
}

const anyOf = (server: string): string => (isIPv6(server) ? '::' : '0.0.0.0');

function answers(message: Buffer, query: Buffer): boolean {
  return (
    message.length >= 12 &&
    (message.readUInt16BE(2) & 0x8000) !== 0 &&
    message.readUInt16BE(0) === query.readUInt16BE(0)
  );
}

/** A message with its two length bytes, as DNS over TCP has it. */
export function frameOf(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

/** Splits a TCP stream into messages; at most one incomplete message (64 KiB) is held. */
export class DnsFrames {
  #rest: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): Buffer[] {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    const messages: Buffer[] = [];
    while (this.#rest.length >= 2) {
      const end = 2 + this.#rest.readUInt16BE(0);
      if (this.#rest.length < end) break;
      messages.push(this.#rest.subarray(2, end));
      this.#rest = this.#rest.subarray(end);
    }
    return messages;
  }
}
