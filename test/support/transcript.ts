/**
 * Transcripts: commands and what they say, as a person reads them.
 *
 *     # a section
 *     $ docker node inspect nobody
 *     []
 *     ! Error response from daemon: node nobody not found
 *     = 1
 *
 * `! ` stands before what goes to standard error, `= ` before an exit status that is not 0, a line of `...` for any lines. What
 * differs from run to run is written `<id>`, `<container>`, `<time>` and so on.
 */

export interface TranscriptStep {
  readonly section: string;
  /** after `$ `, as one types it */
  readonly command: string;
  readonly argv: readonly string[];
  readonly stdout: readonly string[];
  readonly stderr: readonly string[];
  readonly code: number;
}

const WORD = /'([^']*)'|(\S+)/g;
const ANY = '...';

export function parseTranscript(text: string): TranscriptStep[] {
  const steps: TranscriptStep[] = [];
  let section = '';
  for (const block of text.split(/^(?=[$#] )/m)) {
    const [head = '', ...lines] = block.trimEnd().split('\n');
    if (head.startsWith('# ')) section = head.slice(2);
    if (!head.startsWith('$ ')) continue;
    const command = head.slice(2);
    const code = lines.find((line) => line.startsWith('= '));
    steps.push({
      section,
      command,
      argv: [...command.matchAll(WORD)].map(([, quoted, bare]) => quoted ?? bare ?? ''),
      stdout: lines.filter((line) => !/^[!=] /.test(line)),
      stderr: lines.filter((line) => line.startsWith('! ')).map((line) => line.slice(2)),
      code: code === undefined ? 0 : Number(code.slice(2)),
    });
  }
  return steps;
}

const NAMES: readonly (readonly [RegExp, string])[] = [
  [/\b[0-9a-f]{64}\b/g, '<container>'],
  [/SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}/g, '<token>'],
  [/SWMKEY-1-[A-Za-z0-9+/]{43}/g, '<key>'],
  [/\b(?=[a-z]*\d)[0-9a-z]{25}\b/g, '<id>'],
  [/\b(?=[a-z]*\d)[0-9a-z]{12}\b/g, '<short>'],
  [/\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \+0000 utc\b/g, '<time>'],
  [/\b172\.30\.\d+\.\d+\b/g, '<address>'],
];

/** The lines of an output, without what differs from run to run; neither blanks at their ends nor empty ones count. */
export function transcriptLines(text: string, folder: string): string[] {
  const plain = NAMES.reduce(
    (at, [pattern, name]) => at.replace(pattern, name),
    text.replaceAll(folder, '<dir>'),
  );
  return plain
    .split(/\r?\n|\r/)
    .map((line) => line.trimEnd())
    .filter((line) => line !== '');
}

/** Whether `lines` are those of a transcript, where `...` stands for any. */
export function linesMatch(expected: readonly string[], lines: readonly string[]): boolean {
  const [first, ...rest] = expected;
  if (first === undefined) return lines.length === 0;
  if (first === ANY) {
    return lines.some((_, at) => linesMatch(rest, lines.slice(at))) || linesMatch(rest, []);
  }
  return lines[0] === first && linesMatch(rest, lines.slice(1));
}
