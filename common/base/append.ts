/**
 * Adds `more` to the end of `list`, however many they are. `push(...more)` hands each as an argument, and about 120,000 of
 * them are more than the stack holds (RangeError): it is for lists that are known to be short.
 */
export function append<T>(list: T[], more: Iterable<T>): void {
  for (const one of more) list.push(one);
}
