/** `skep stats` and `skep top`: what containers use, and which processes they have. */
import { type Listing, renderListing } from '../output/listing.ts';
import { renderTable } from '../output/table.ts';
import { type Configure, filterMap } from './context.ts';
import { SHORT_ID_CHARS } from './tasks.ts';
import { follow, type Measured, type StatsFlags, statsFlags } from './usage.ts';
import { defaultFormat } from './user-defaults.ts';

interface ContainerStatsFlags extends StatsFlags {
  readonly all?: boolean;
}

export const stats: Configure = (command, context) => {
  defaultFormat(command, context, 'statsFormat');
  statsFlags(command)
    .option('-a, --all', 'also those that do not run')
    .argument('[container...]', 'ids or names; default: all that run')
    .action(async (refs: readonly string[], flags: ContainerStatsFlags) => {
      const { client } = context;
      const list = async (): Promise<readonly Measured[]> => {
        if (refs.length > 0) return named;
        const found = await client.containers({ all: flags.all ?? false, filters: filterMap([]) });
        return found.map(({ Id, Names }) => ({
          id: Id,
          fields: { Container: Id, ID: Id, Name: Names[0]?.replace(/^\//, '') ?? '' },
        }));
      };
      const named = await Promise.all(
        refs.map(async (ref): Promise<Measured> => {
          const { Id, Name } = await client.container(ref);
          return { id: Id, fields: { Container: ref, ID: Id, Name: Name.replace(/^\//, '') } };
        }),
      );
      const trunc = flags.trunc ?? true;
      const shown = (id: string): string => (trunc ? id.slice(0, SHORT_ID_CHARS) : id);
      await follow(context, flags, list, (rows) => {
        const all = rows.map((row) => ({
          ...row,
          ID: shown(row['ID']!),
          ...(refs.length === 0 && { Container: shown(row['ID']!) }),
        }));
        return renderListing({ ...COLUMNS, rows: all }, flags);
      });
    });
};

const COLUMNS: Omit<Listing, 'rows'> = {
  columns: [
    ['CONTAINER ID', 'ID'],
    ['NAME', 'Name'],
    ['CPU %', 'CPUPerc'],
    ['MEM USAGE / LIMIT', 'MemUsage'],
    ['MEM %', 'MemPerc'],
    ['NET I/O', 'NetIO'],
    ['BLOCK I/O', 'BlockIO'],
    ['PIDS', 'PIDs'],
  ],
  headings: { Container: 'CONTAINER' },
  quietField: 'ID',
};

export const top: Configure = (command, context) => {
  command
    .passThroughOptions()
    .argument('<container>', 'id or name')
    .argument('[ps-options...]', 'as those of ps, e.g. -eo pid,comm')
    .action(async (ref: string, words: readonly string[]) => {
      const { Titles, Processes } = await context.client.containerTop(ref, words.join(' '));
      context.stdout.write(renderTable([Titles, ...Processes]));
    });
};
