/** One or more stack files -> one model: each with what it includes and extends, later over earlier. */
import { ExtendsResolver } from './extends.ts';
import { includedModels } from './include.ts';
import { STACK_FILE } from './keys/top-keys.ts';
import type { LoadContext, ProjectFiles } from './load-context.ts';
import { mergeValues, settle } from './merge.ts';
import type { MapValue, Value } from './tree.ts';

/**
 * null when no file can be read at all. `including`: absolute paths of the files that led here.
 */
export function loadModel(
  context: LoadContext,
  { files, dir, env }: ProjectFiles,
  including: readonly string[] = [],
): MapValue | null {
  let model: MapValue | null = null;
  for (const { source, path } of files) {
    const own = context.parse(source, dir, env);
    if (!own) continue;
    const chain = [...including, path];
    const whole = includedModels(context, own, { dir, env }, chain, (project) =>
      loadModel(context, project, chain),
    );
    const earlier: MapValue | null = model;
    const extended = new ExtendsResolver(context, env, earlier).resolve(whole, path);
    model = earlier
      ? asMap(
          mergeValues(earlier, extended, STACK_FILE, (fact) => context.replaced.push(fact)),
          extended,
        )
      : asMap(settle(extended), extended);
  }
  return model;
}

function asMap(value: Value, fallback: MapValue): MapValue {
  return value.kind === 'map' ? value : fallback;
}
