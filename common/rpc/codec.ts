/** Codecs from generated messages and the converters of common/wire. */
import type { Codec } from './method.ts';

/** What protobufjs generates for a message. */
export interface GeneratedMessage<Properties> {
  encode(message: Properties): { finish(): Uint8Array };
  decode(bytes: Uint8Array): Properties;
}

/** A codec for `T` by way of a generated message. */
export function codec<T, Properties>(
  message: GeneratedMessage<Properties>,
  toProto: (value: T) => Properties,
  fromProto: (properties: Properties) => T,
): Codec<T> {
  return {
    encode: (value) => message.encode(toProto(value)).finish(),
    decode: (bytes) => fromProto(message.decode(bytes)),
  };
}
