// Loaded before the TypeScript loader (`node --import`), it puts one planted bug into the sources as
// they are read. The bug comes as JSON in the environment; nothing of it is in the product.
import { register } from 'node:module';

/** A loader hook has no imports from here but its data. */
const HOOK = `
let mutant;
export async function initialize(data) { mutant = data; }
export async function load(url, context, nextLoad) {
  const loaded = await nextLoad(url, context);
  const edit = [mutant, ...(mutant.also ?? [])].find(({ file }) => url.endsWith('/' + file));
  if (edit === undefined) return loaded;
  const parts = Buffer.from(loaded.source).toString().split(edit.find);
  if (parts.length !== 2) {
    throw new Error('mutant ' + mutant.name + ': its text is ' + (parts.length - 1) + ' times in ' + edit.file);
  }
  return { ...loaded, source: parts.join(edit.replace) };
}`;

const mutant = process.env.SKEP_SIM_MUTANT;
if (mutant) {
  const url = `data:text/javascript,${encodeURIComponent(HOOK)}`;
  register(url, import.meta.url, { data: JSON.parse(mutant) });
}
