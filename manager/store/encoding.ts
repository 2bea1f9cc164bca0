/** Encodings of stored objects as the store keeps them: see StoredRecord. */

/** A character for each byte. */
export function encodingOfBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

export function bytesOfEncoding(encoding: string): Uint8Array {
  return Buffer.from(encoding, 'latin1');
}
