/**
 * As `Promise.all`, but a rejection waits until nothing of it is under way any more: whoever cleans up then
 * has it to himself. Of several failures the first in order counts.
 */
export async function settled<T extends readonly unknown[]>(
  work: readonly [...T],
): Promise<{ [K in keyof T]: Awaited<T[K]> }> {
  const ends = await Promise.allSettled(work);
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
  return ends.map((end) => (end as PromiseFulfilledResult<unknown>).value) as {
    [K in keyof T]: Awaited<T[K]>;
  };
}
