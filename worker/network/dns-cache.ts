/**
 * What other nameservers answered, for as long as they said that it holds. Pure but for the clock:
 * knows neither sockets nor the cluster's names.
 */
import type { Clock } from '../../common/base/clock.ts';
import type { Question } from './dns-message.ts';

/** Some 150 bytes each; of more the one that was asked for longest ago goes. */
const ANSWERS_MAX = 2_000;
const ANSWER_BYTES_MAX = 4_096;
/** However long others promise: a change must come through in minutes. */
const TTL_SECONDS_MAX = 300;
/** Of names that do not exist, and records that a name does not have. */
const NEGATIVE_TTL_SECONDS_MAX = 30;
const HEADER_BYTES = 12;
const TYPE_SOA = 6;
const TYPE_OPT = 41;

interface Kept {
  readonly response: Buffer;
  /** where its time to live fields are */
  readonly ttlPlaces: readonly number[];
  readonly sinceMs: number;
  readonly untilMs: number;
}

/** A response's time to live, and where each record has its own. */
interface Lifetime {
  readonly seconds: number;
  readonly places: readonly number[];
}

export class DnsCache {
  readonly #clock: Clock;
  /** the one asked for last is last */
  readonly #answers = new Map<string, Kept>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * What makes two queries the same: everything but id and case of the name, and whom they would go
   * to. So flags and options of the client are obeyed without being understood.
   */
  static keyOf(query: Buffer, question: Question, servers: readonly string[], transport: string) {
    const rest = query.toString('latin1', question.end);
    const flags = query.toString('latin1', 2, HEADER_BYTES);
    return [transport, servers, question.name, question.type, flags, rest].join('\0');
  }

  /** The response to `query`, with what is left of its time to live. */
  get(key: string, query: Buffer, question: Question): Buffer | null {
    const kept = this.#answers.get(key);
    if (!kept) return null;
    this.#answers.delete(key);
    const nowMs = this.#clock.monotonicMs();
    if (nowMs >= kept.untilMs) return null;
    this.#answers.set(key, kept);
    const response = Buffer.from(kept.response);
    query.copy(response, 0, 0, 2);
    query.copy(response, HEADER_BYTES, HEADER_BYTES, question.end); // the name as it was asked
    const ageSeconds = Math.floor((nowMs - kept.sinceMs) / 1000);
    for (const place of kept.ttlPlaces) {
      response.writeUInt32BE(Math.max(0, response.readUInt32BE(place) - ageSeconds), place);
    }
    return response;
  }

  /** Keeps a response that may be kept. */
  put(key: string, response: Buffer, question: Question): void {
    const lifetime = response.length <= ANSWER_BYTES_MAX ? lifetimeOf(response, question) : null;
    if (!lifetime || lifetime.seconds <= 0) return;
    const sinceMs = this.#clock.monotonicMs();
    const untilMs = sinceMs + lifetime.seconds * 1000;
    this.#answers.delete(key);
    this.#answers.set(key, {
      response: Buffer.from(response),
      ttlPlaces: lifetime.places,
      sinceMs,
      untilMs,
    });
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= ANSWERS_MAX) return;
      this.#answers.delete(oldest);
    }
  }
}

/** null for what must not be kept: failures, cut answers, answers without a time to live. */
export function lifetimeOf(response: Buffer, question: Question): Lifetime | null {
  const flags = response.readUInt16BE(2);
  const rcode = flags & 0xf;
  const cut = (flags & 0x0200) !== 0;
  // The question as we asked it: `get` writes the client's over it.
  const sameQuestion = response.readUInt16BE(4) === 1 && response.length >= question.end;
  if (cut || !sameQuestion || (rcode !== 0 && rcode !== 3)) return null;
  const answerCount = response.readUInt16BE(6);
  const negative = rcode === 3 || answerCount === 0;
  const records = recordsOf(response, question.end);
  if (!records) return null;
  let seconds = negative ? NEGATIVE_TTL_SECONDS_MAX : TTL_SECONDS_MAX;
  if (negative && !records.some(({ type }) => type === TYPE_SOA)) return null; // RFC 2308
  for (const record of records) {
    seconds = Math.min(seconds, record.ttlSeconds);
    if (negative && record.type === TYPE_SOA) {
      seconds = Math.min(seconds, response.readUInt32BE(record.end - 4)); // its minimum
    }
  }
  return { seconds, places: records.map(({ ttlPlace }) => ttlPlace) };
}

interface RecordPlace {
  readonly type: number;
  readonly ttlSeconds: number;
  readonly ttlPlace: number;
  readonly end: number;
}

/** All records but OPT; null for a message that ends too soon. */
function recordsOf(response: Buffer, start: number): RecordPlace[] | null {
  const count = response.readUInt16BE(6) + response.readUInt16BE(8) + response.readUInt16BE(10);
  const records: RecordPlace[] = [];
  let at = start;
  for (let i = 0; i < count; i++) {
    const afterName = nameEnd(response, at);
    if (afterName === null || afterName + 10 > response.length) return null;
    const type = response.readUInt16BE(afterName);
    const end = afterName + 10 + response.readUInt16BE(afterName + 8);
    if (end > response.length) return null;
    const ttlPlace = afterName + 4;
    if (type !== TYPE_OPT) {
      records.push({ type, ttlSeconds: response.readUInt32BE(ttlPlace), ttlPlace, end });
    }
    at = end;
  }
  return records;
}

function nameEnd(message: Buffer, start: number): number | null {
  for (let at = start; at < message.length; ) {
    const length = message[at] as number;
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2;
    at += length + 1;
  }
  return null;
}
