/** A model as a stack file again: what it prints is read as the same model. */
import { Document, Pair, Scalar, YAMLMap, YAMLSeq } from 'yaml';
import { shownPlace } from './problems.ts';
import type { MapValue, ScalarValue, Value } from './tree.ts';

export interface PrintOptions {
  /** a dollar of the model is one of the text: it is doubled, so that it is none of a variable */
  readonly escapeDollars: boolean;
  /** beside each value, the place that it came from */
  readonly origins: boolean;
}

/** Texts that YAML, in one of its versions, takes for something else when they stand plain. */
const NEEDS_QUOTES =
  /^(?:~|null|true|false|yes|no|on|off|y|n|[-+.]?\.?\d.*|[-+]?\.(?:inf|nan)|0[xob].*|<<|=|)$/i;

export function printModel(model: MapValue, options: PrintOptions): string {
  // Only texts exist in this schema: what is no text is written as it was, and never quoted.
  const document = new Document(null, { schema: 'failsafe' });
  const map = new YAMLMap();
  for (const [name, { value }] of model.entries) {
    // Variables are not filled in where nobody reads, so there is nothing to undo.
    const escapeDollars = options.escapeDollars && !name.startsWith('x-');
    addPair(map, name, nodeOf(value, { ...options, escapeDollars }));
  }
  document.contents = map as unknown as typeof document.contents;
  return document.toString({ lineWidth: 0, indentSeq: true });
}

function nodeOf(value: Value, options: PrintOptions): Scalar | YAMLMap | YAMLSeq {
  switch (value.kind) {
    case 'scalar':
      return scalarNode(value, options);
    case 'list': {
      const list = new YAMLSeq();
      list.items = value.items.map((item) => nodeOf(item, options));
      list.flow = list.items.length === 0;
      return list;
    }
    case 'map': {
      const map = new YAMLMap();
      for (const [name, { value: inner }] of value.entries) {
        addPair(map, name, nodeOf(inner, options));
      }
      map.flow = map.items.length === 0;
      return map;
    }
    case 'broken':
      return new Scalar('');
  }
}

function addPair(map: YAMLMap, name: string, value: Scalar | YAMLMap | YAMLSeq): void {
  const key = new Scalar(name);
  if (NEEDS_QUOTES.test(name)) key.type = 'QUOTE_DOUBLE';
  map.items.push(new Pair(key, value));
}

function scalarNode(value: ScalarValue, { escapeDollars, origins }: PrintOptions): Scalar {
  const isText = typeof value.value === 'string';
  const written = value.value === null ? 'null' : value.text;
  const text = isText && escapeDollars ? written.replaceAll('$', '$$$$') : written;
  const node = new Scalar(text);
  if (!isText) node.type = 'PLAIN';
  else if (NEEDS_QUOTES.test(text)) node.type = 'QUOTE_DOUBLE';
  if (origins) node.comment = ` ${shownPlace(value.place)}`;
  return node;
}
