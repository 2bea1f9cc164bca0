/** `POST /commit`: an image from what a container of this node changed. */
import { Readable } from 'node:stream';
import { SkepError } from '../../common/base/errors.ts';
import type { ContainerView } from '../../worker/container-view.ts';
import type { ImageStore } from '../../worker/images/image-store.ts';
import type { EventJournal } from './event-journal.ts';
import { imageConfigOf } from './json/container.ts';
import { JsonReader } from './json/reader.ts';
import { containerEvent } from './route-events.ts';
import type { Routes } from './server.ts';

export interface CommitRouteOptions {
  readonly containers: ContainerView;
  readonly images: Pick<ImageStore, 'commit'>;
  readonly events: Pick<EventJournal, 'tell'>;
}

export function addCommitRoute(
  routes: Routes,
  { containers, images, events }: CommitRouteOptions,
): void {
  routes.add('POST', '/commit', async (context) => {
    const info = containers.require(context.text('container') ?? '');
    const given = new JsonReader(await context.json()).value;
    const base = info.image;
    if (base === null) {
      const words = `commit container ${info.id}: its image is not on this node any more`;
      throw new SkepError('failed-precondition', words);
    }
    const [repository, tag] = [context.text('repo') ?? '', context.text('tag') ?? ''];
    const name = repository === '' ? null : `${repository}${tag === '' ? '' : `:${tag}`}`;
    const comment = context.text('comment') ?? '';
    const image = await containers.withLayer(info, context.flag('pause', true), (tar) =>
      images.commit(
        base.id,
        Readable.from(tar),
        name,
        {
          config: { ...imageConfigOf(info), ...given },
          changes: context.query.getAll('changes').flatMap((text) => text.split('\n')),
          message: comment,
          author: context.text('author') ?? '',
        },
        context.signal,
      ),
    );
    const made = { comment, imageID: image.id, imageRef: name ?? '' };
    events.tell(containerEvent(info, 'commit', made));
    context.send(201, { Id: image.id });
  });
}
