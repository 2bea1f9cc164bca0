import { describe, expect, test } from 'vitest';
import { parseImageReference } from '../../../common/model/image-reference.ts';
import { parseImageDocument } from '../../../worker/images/image-config.ts';
import type { ImageEntry } from '../../../worker/images/image-index.ts';
import { planRemoval } from '../../../worker/images/image-removal.ts';

const ID = `sha256:${'a'.repeat(64)}`;
const DIGEST = `sha256:${'b'.repeat(64)}`;
const WEB = 'docker.io/library/web';

function image(repoTags: string[], repoDigests: string[] = []): ImageEntry {
  const document = parseImageDocument(Buffer.from('{}'));
  const rest = { manifestDigest: DIGEST, layers: [], sizeBytes: 0, platforms: null, document };
  return { id: ID, repoTags, repoDigests, ...rest };
}

const byName = (entry: ImageEntry, name: string) => ({
  entry,
  reference: parseImageReference(name),
});
const byId = (entry: ImageEntry) => ({ entry, reference: null });

describe('image removal', () => {
  test('one of two names goes, the image stays', () => {
    const plan = planRemoval(byName(image([`${WEB}:1`, `${WEB}:2`]), 'web:1'), ['c'], false);
    expect(plan.untagged).toEqual(['web:1']);
    expect(plan.remaining?.repoTags).toEqual([`${WEB}:2`]);
  });

  test('the last name takes the image along', () => {
    const plan = planRemoval(byName(image([`${WEB}:1`]), 'web:1'), [], false);
    expect(plan).toEqual({ untagged: ['web:1'], remaining: null });
  });

  test('the last tag of a repository takes its digests along', () => {
    const entry = image([`${WEB}:1`, 'r.x/web:1'], [`${WEB}@${DIGEST}`, `r.x/web@${DIGEST}`]);
    const plan = planRemoval(byName(entry, 'web:1'), [], false);
    expect(plan.untagged).toEqual(['web:1', `web@${DIGEST}`]);
    expect(plan.remaining).toMatchObject({
      repoTags: ['r.x/web:1'],
      repoDigests: [`r.x/web@${DIGEST}`],
    });
  });

  test('an image known by digest alone goes by its digest', () => {
    const plan = planRemoval(byName(image([], [`${WEB}@${DIGEST}`]), `web@${DIGEST}`), [], false);
    expect(plan).toEqual({ untagged: [`web@${DIGEST}`], remaining: null });
  });

  test('the last name of an image in use goes by force only, and the image stays', () => {
    const found = byName(image([`${WEB}:1`]), 'web:1');
    const container = '0123456789abcdef';
    expect(() => planRemoval(found, [container], false)).toThrow(
      'conflict: unable to remove repository reference "web:1" (must force)' +
        ' - container 0123456789ab is using its referenced image aaaaaaaaaaaa',
    );
    const plan = planRemoval(found, [container], true);
    expect(plan.untagged).toEqual(['web:1']);
    expect(plan.remaining?.repoTags).toEqual([]);
  });

  test('by id: never in use, several repositories by force only', () => {
    const entry = image([`${WEB}:1`, 'r.x/web:1']);
    expect(() => planRemoval(byId(entry), ['c'], true)).toThrow(
      'unable to delete aaaaaaaaaaaa (cannot be forced) - image is being used by running container c',
    );
    expect(() => planRemoval(byId(entry), [], false)).toThrow(
      '(must be forced) - image is referenced in multiple repositories',
    );
    expect(planRemoval(byId(entry), [], true).untagged).toEqual(['web:1', 'r.x/web:1']);
    const one = image([`${WEB}:1`, `${WEB}:2`]);
    expect(planRemoval(byId(one), [], false).remaining).toBeNull();
  });
});
