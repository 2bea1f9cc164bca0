/**
 * Objects that are kept for their shape alone. When the engine collects to save memory, as a daemon at rest has it do, it
 * forgets the shapes that no living object has, and with them all compiled code that relies on one: what makes and drops
 * objects in one go (a transaction, a look at the store) would run slowly after each rest, until it is compiled again. Object
 * literals need nothing of this: the code that makes them holds their shapes.
 */
const kept: object[] = [];

/**
 * Keeps `example` for ever, so that compiled code for objects like it lasts. To be small, and to have in each field what
 * others have there: a whole number below 2^31 is of another shape than a larger one.
 */
export function keepShape(example: object): void {
  kept.push(example);
}
