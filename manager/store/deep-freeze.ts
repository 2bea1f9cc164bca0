/** Freezing of plain data. */

/**
 * Freezes `value` and what it holds, and returns it. What is frozen already counts as deeply frozen;
 * byte arrays cannot be frozen and are left alone.
 * @param frozen what it shares with this is frozen: to ask costs more than to compare
 */
export function deepFreeze<T extends object>(value: T, frozen?: T): T {
  Object.freeze(value);
  for (const key in value) {
    const inner: unknown = value[key];
    if (typeof inner !== 'object' || inner === null || inner === frozen?.[key]) continue;
    // In this order: asking a byte array whether it is frozen visits each of its elements.
    if (ArrayBuffer.isView(inner) || Object.isFrozen(inner)) continue;
    deepFreeze(inner);
  }
  return value;
}
