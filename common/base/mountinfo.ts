/** Reading /proc/<pid>/mountinfo, proc(5). */

/** One mount, as the kernel lists them: parents before what lies below them, later ones cover earlier ones. */
export interface MountEntry {
  /** `major:minor` of the file system: the same at all places where it is mounted */
  readonly device: string;
  /** where it is mounted */
  readonly point: string;
  readonly type: string;
  /** of the file system, comma-separated in the file: of a cgroup v1 hierarchy its controllers too */
  readonly superOptions: readonly string[];
  /** what is mounted here or in a copy appears in the other */
  readonly isShared: boolean;
  /** what is mounted in another place appears here */
  readonly isSlave: boolean;
}

/** @param text the whole file */
export function parseMountinfo(text: string): MountEntry[] {
  return text.split('\n').flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ');
    const [, , device = '', , point, , ...tags] = before.split(' ');
    if (point === undefined) return [];
    const [type = '', , superOptions = ''] = after.split(' ');
    return [
      {
        device,
        point: unescapeOctal(point),
        type,
        superOptions: superOptions.split(','),
        isShared: tags.some((tag) => tag.startsWith('shared:')),
        isSlave: tags.some((tag) => tag.startsWith('master:')),
      },
    ];
  });
}

/** Mount points at or below `path`, in the order of the file. */
export function pointsBelow(mounts: readonly MountEntry[], path: string): string[] {
  const points = mounts.map(({ point }) => point);
  return points.filter((point) => point === path || point.startsWith(`${path}/`));
}

/** Blanks, line ends and backslashes are written as `\ooo`. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
