/** What we use of tar-fs 3, whose published types are of an older version. */
declare module 'tar-fs' {
  import type { Readable, Writable } from 'node:stream';

  export interface Headers {
    name: string;
    mode: number;
    type?: string;
    linkname?: string | null;
  }

  export function pack(
    folder: string,
    options: {
      readonly entries: string[];
      readonly umask: number;
      readonly strict: boolean;
      readonly map: (header: Headers) => Headers;
    },
  ): Readable;

  export function extract(
    folder: string,
    options: {
      readonly chown: boolean;
      readonly umask: number;
      readonly validateSymlinks: boolean;
      readonly ignore: (path: string, header?: Headers) => boolean;
      readonly map: (header: Headers) => Headers;
    },
  ): Writable;
}
