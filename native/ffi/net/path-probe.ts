/** Which packets pass to other hosts uncut, through libskep. */
import { declareAsync } from '../library.ts';

const probeCall = declareAsync(
  'int skep_probe_paths(const char *addresses, const uint8_t *packet_bytes, uint32_t count, int32_t timeout_ms, _Out_ uint8_t *answered, _Out_ uint8_t *err)',
);

export interface PathProbe {
  /** IPv4 or IPv6 */
  readonly address: string;
  /** of the IP packet, 56 to 65,535 */
  readonly packetBytes: number;
}

/**
 * By ICMP echo requests that may not be cut: for each probe whether it was answered, in their order. False also where
 * nothing of this size can be sent, or where echo requests are not answered at all.
 */
export async function probePaths(
  probes: readonly PathProbe[],
  timeoutMs: number,
): Promise<boolean[]> {
  if (probes.length === 0) return [];
  const sizes = Uint32Array.from(probes, ({ packetBytes }) => packetBytes);
  const answered = Buffer.alloc(probes.length);
  const addresses = probes.map(({ address }) => address).join('\n');
  await probeCall(addresses, Buffer.from(sizes.buffer), probes.length, timeoutMs, answered);
  return [...answered].map((value) => value === 1);
}
