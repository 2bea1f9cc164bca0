/**
 * HTTP/1.1 messages in the bytes of one direction of a connection, read beside those for whom they are. Knows where messages end;
 * nothing of what they say.
 */

export interface HttpHead {
  /** the first line */
  readonly start: string;
  /** by names in lower case */
  readonly headers: Readonly<Record<string, string>>;
}

export interface HttpMessageEvents {
  /** `until-end`: what follows is no message any more; `bare`: the next one follows at once */
  onHead(head: HttpHead): 'framed' | 'bare' | 'until-end';
  /** Of a framed one. */
  onMessage(head: HttpHead, body: Buffer): void;
}

type State =
  | { readonly at: 'head' | 'chunk-size' | 'trailer' | 'until-end' }
  /** @param isChunk two more bytes follow, and the next chunk's size */
  | { readonly at: 'bytes'; readonly left: number; readonly isChunk: boolean };

const HEAD_END = '\r\n\r\n';

export class HttpMessageReader {
  readonly #events: HttpMessageEvents;
  #state: State = { at: 'head' };
  #pending: Buffer = Buffer.alloc(0);
  #head: HttpHead = { start: '', headers: {} };
  #body: Buffer[] = [];

  constructor(events: HttpMessageEvents) {
    this.#events = events;
  }

  push(chunk: Buffer): void {
    if (this.#isOver()) return;
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    while (this.#step());
    if (this.#isOver()) this.#pending = Buffer.alloc(0);
  }

  #isOver(): boolean {
    return this.#state.at === 'until-end';
  }

  /** False when it needs more bytes. */
  #step(): boolean {
    switch (this.#state.at) {
      case 'head':
        return this.#readHead();
      case 'chunk-size':
        return this.#readChunkSize();
      case 'trailer':
        return this.#readTrailer();
      case 'bytes':
        return this.#readBytes(this.#state);
      case 'until-end':
        return false;
    }
  }

  #readHead(): boolean {
    const text = this.#through(HEAD_END);
    if (text === null) return false;
    const [start = '', ...lines] = text.split('\r\n');
    const headers = Object.fromEntries(
      lines.map((line) => {
        const at = line.indexOf(':');
        return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()];
      }),
    );
    this.#head = { start, headers };
    this.#body = [];
    const kind = this.#events.onHead(this.#head);
    if (kind === 'bare') return true;
    if (kind === 'until-end') this.#state = { at: 'until-end' };
    else if (headers['transfer-encoding'] !== undefined) this.#state = { at: 'chunk-size' };
    else this.#readNext(Number(headers['content-length'] ?? 0), false);
    return true;
  }

  #readNext(left: number, isChunk: boolean): void {
    if (left > 0) this.#state = { at: 'bytes', left, isChunk };
    else this.#end();
  }

  #readChunkSize(): boolean {
    const line = this.#through('\r\n');
    if (line === null) return false;
    const size = Number.parseInt(line, 16);
    this.#state = size > 0 ? { at: 'bytes', left: size + 2, isChunk: true } : { at: 'trailer' };
    return true;
  }

  #readTrailer(): boolean {
    const line = this.#through('\r\n');
    if (line === '') this.#end();
    return line !== null;
  }

  #readBytes({ left, isChunk }: { readonly left: number; readonly isChunk: boolean }): boolean {
    const bytes = this.#pending.subarray(0, left);
    if (bytes.length === 0) return false;
    this.#pending = this.#pending.subarray(bytes.length);
    const rest = left - bytes.length;
    // Of a chunk its line's end is no part.
    this.#body.push(isChunk ? bytes.subarray(0, Math.max(0, left - 2)) : bytes);
    if (rest > 0) this.#state = { at: 'bytes', left: rest, isChunk };
    else if (isChunk) this.#state = { at: 'chunk-size' };
    else this.#end();
    return true;
  }

  #end(): void {
    this.#state = { at: 'head' };
    const body = Buffer.concat(this.#body);
    this.#body = [];
    this.#events.onMessage(this.#head, body);
  }

  /** What stands before `mark`; null when it has not come yet. */
  #through(mark: string): string | null {
    const at = this.#pending.indexOf(mark);
    if (at < 0) return null;
    const text = this.#pending.toString('latin1', 0, at);
    this.#pending = this.#pending.subarray(at + mark.length);
    return text;
  }
}
