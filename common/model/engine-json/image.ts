/** The Docker Engine API's JSON: images. */

export interface ImageSummaryJson {
  readonly Id: string;
  readonly RepoTags?: readonly string[] | null;
  readonly RepoDigests?: readonly string[] | null;
  /** unix seconds */
  readonly Created: number;
  readonly Size: number;
  /** of the layers that other images have, too; -1 = not counted */
  readonly SharedSize?: number;
  readonly Containers?: number;
}

export interface ImageHistoryJson {
  readonly Id: string;
  /** unix seconds */
  readonly Created: number;
  readonly CreatedBy: string;
  readonly Size: number;
  readonly Comment: string;
}

export interface ImagesPruneJson {
  readonly ImagesDeleted?:
    | readonly { readonly Untagged?: string; readonly Deleted?: string }[]
    | null;
  readonly SpaceReclaimed: number;
}
