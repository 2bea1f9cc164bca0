/** Server-sent events, read: blocks of `field: value` lines that end with an empty one. */

export interface SentEvent {
  /** `message` when the sender gave none */
  readonly name: string;
  readonly data: string;
}

/** Events with data; comments and ids alone keep the connection and are no events. */
export async function* sentEvents(chunks: AsyncIterable<string>): AsyncIterable<SentEvent> {
  let rest = '';
  let name = 'message';
  let data: string[] = [];
  for await (const chunk of chunks) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) yield { name, data: data.join('\n') };
        name = 'message';
        data = [];
        continue;
      }
      const [field = '', value = ''] = splitField(line);
      if (field === 'event') name = value;
      else if (field === 'data') data.push(value);
    }
  }
}

function splitField(line: string): readonly string[] {
  const colon = line.indexOf(':');
  if (colon < 0) return [line];
  return [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, '')];
}
