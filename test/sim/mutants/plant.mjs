// Loaded before the TypeScript loader (`node --import`), it puts one planted bug into the sources as
// they are read. The bug comes as JSON in the environment; nothing of it is in the product.
import { register } from 'node:module';

/** A loader hook has no imports from here but its data. */
const HOOK = `
let mutant;
export async function initialize(data) { mutant = data; }
export async function load(url, context, nextLoad) {
  const loaded = await nextLoad(url, context);
  const edits = [mutant, ...(mutant.also ?? [])].filter(({ file }) => url.endsWith('/' + file));
  if (edits.length === 0) return loaded;
  let source = Buffer.from(loaded.source).toString();
  for (const edit of edits) {
    const parts = source.split(edit.find);
    if (parts.length !== 2) {
      throw new Error('mutant ' + mutant.name + ': its text is ' + (parts.length - 1) + ' times in ' + edit.file);
    }
    source = parts.join(edit.replace);
  }
  return { ...loaded, source };
}`;

const mutant = process.env.SKEP_SIM_MUTANT;
if (mutant) {
  const url = `data:text/javascript,${encodeURIComponent(HOOK)}`;
  register(url, import.meta.url, { data: JSON.parse(mutant) });
}
