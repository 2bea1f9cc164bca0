import { describe, expect, test } from 'vitest';
import { renderInspect, renderListing } from '../../../../cli/output/listing.ts';
import { hostPorts, ingressPorts } from '../../../../cli/output/ports.ts';
import { ellipsis, naturalCompare, renderTable } from '../../../../cli/output/table.ts';
import { parseTemplate } from '../../../../cli/output/template.ts';
import { ago, goDuration, humanBinarySize, humanSize } from '../../../../cli/output/units.ts';

describe('tables', () => {
  test('columns are ten wide at least, three apart, the last ragged', () => {
    expect(
      renderTable([
        ['ID', 'NAME', 'PORTS'],
        ['a', 'a-longer-name', ''],
      ]),
    ).toBe('ID        NAME            PORTS\na         a-longer-name   \n');
  });

  test('names are sorted as people count', () => {
    const names = ['web.10', 'web.2', 'db', 'web.1'];
    expect(names.sort(naturalCompare)).toEqual(['db', 'web.1', 'web.2', 'web.10']);
  });

  test('long texts end with an ellipsis', () => {
    expect(ellipsis('abcdef', 4)).toBe('abc…');
    expect(ellipsis('abcd', 4)).toBe('abcd');
  });
});

describe('listings', () => {
  const listing = {
    columns: [
      ['ID', 'ID'],
      ['CURRENT STATE', 'CurrentState'],
    ] as const,
    rows: [
      {
        ID: 'x1',
        CurrentState: 'Running',
        Extra: 'e',
        Label: (name: string) => String(name.length),
      },
    ],
    quietField: 'ID',
  };

  test.each([
    [{}, 'ID        CURRENT STATE\nx1        Running\n'],
    [{ quiet: true }, 'x1\n'],
    [{ format: 'json' }, '{"ID":"x1","CurrentState":"Running","Extra":"e"}\n'],
    [{ format: '{{.ID}}: {{.CurrentState}}' }, 'x1: Running\n'],
    [
      { format: 'table {{.CurrentState}}\\t{{.Extra}}' },
      'CURRENT STATE   EXTRA\nRunning         e\n',
    ],
    [
      { format: 'table {{upper .CurrentState}}\\t{{.Label "com.example.cpu-set"}}' },
      'CURRENT STATE   cpu set\nRUNNING         19\n',
    ],
  ])('%j', (options, text) => expect(renderListing(listing, options)).toBe(text));

  test('an empty list has its headings, also of fields that are no columns', () => {
    const format = 'table {{.ID}}\\t{{.ExtraField}}\\t{{.Label "a.tier"}}';
    const empty = { ...listing, rows: [] };
    expect(renderListing(empty, { format })).toBe('ID        EXTRA FIELD   tier\n');
  });

  test('a field that does not exist is an error that names those that do', () => {
    expect(() => renderListing(listing, { format: '{{.Nmae}}' })).toThrow(
      /can't evaluate field Nmae: there are ID, CurrentState, Extra/,
    );
  });

  test('inspect prints an array, or a template for each object', () => {
    expect(renderInspect([{ A: 1 }], undefined)).toBe('[\n    {\n        "A": 1\n    }\n]\n');
    expect(renderInspect([{ A: 1 }, {}], '{{.A}}')).toBe('1\n<no value>\n');
  });
});

describe('templates', () => {
  const value = {
    Name: 'web',
    List: ['a', 'b'],
    Map: { k: 'v', 'odd.key': 'w' },
    None: null,
    N: 3,
    Items: [{ P: 1 }, { P: 2 }],
  };

  test.each([
    ['{{.Name}}', 'web'],
    ['{{upper .Name}} {{.Name | title}}', 'WEB Web'],
    ['{{json .List}}', '["a","b"]'],
    ['{{join .List ", "}}', 'a, b'],
    ['{{.List}} {{.Map}}', '[a b] map[k:v odd.key:w]'],
    ['{{index .Map "odd.key"}}', 'w'],
    ['{{range .Items}}<{{.P}}{{$.Name}}>{{end}}', '<1web><2web>'],
    ['{{range .None}}x{{else}}empty{{end}}', 'empty'],
    ['{{if eq .N 3}}three{{else if .None}}none{{else}}other{{end}}', 'three'],
    ['{{if not .None}}y{{end}}', 'y'],
    ['{{with .Map}}{{.k}}{{end}}', 'v'],
    ['{{len .List}}{{println}}', '2\n'],
    ['{{truncate .Name 2}}', 'we'],
    ['{{(index .Items 1).P}}', '2'],
    ['<{{pad .Name 2 1}}><{{pad "" 2 1}}>', '<  web ><>'],
    ['{{join (split .Name "e") "-"}}', 'w-b'],
    ['{{range $k, $v := .Map}}{{$k}}={{$v}};{{end}}', 'k=v;odd.key=w;'],
    ['{{index .Map "gone"}}', ''],
    ['a {{- .Name -}} b', 'awebb'],
    ['{{/* nothing */}}x\\ty', 'x\ty'],
    ['{{nothing .Name}}', null],
    ['{{.Name', null],
    ['{{if .Name}}', null],
    ['{{end}}', null],
  ])('%s', (text, expected) => {
    const render = (): string => parseTemplate(text).render(value);
    if (expected === null) expect(render).toThrow(/template parsing error/);
    else expect(render()).toBe(expected);
  });
});

describe('units', () => {
  test('times and sizes have the words of Docker', () => {
    const now = Date.UTC(2026, 0, 2);
    expect(ago('2026-01-01T23:59:55.5Z', now)).toBe('4 seconds ago');
    expect(ago(now / 1000 - 90, now)).toBe('About a minute ago');
    expect(ago('2025-12-30T00:00:00Z', now)).toBe('3 days ago');
    expect(ago('', now)).toBe('');
    expect([humanSize(1_976_000), humanSize(999), humanSize(12_345)]).toEqual([
      '1.98MB',
      '999B',
      '12.3kB',
    ]);
    expect(humanBinarySize(64 * 1024 ** 2)).toBe('64MiB');
  });

  test.each([
    [0, '0s'],
    [1.5e9, '1.5s'],
    [90e9, '1m30s'],
    [7200e9, '2h0m0s'],
    [5e6, '5ms'],
  ])('%d ns', (nanos, text) => expect(goDuration(nanos)).toBe(text));
});

describe('published ports', () => {
  const port = (PublishedPort: number, TargetPort: number, more = {}) => ({
    Protocol: 'tcp',
    PublishMode: 'ingress',
    PublishedPort,
    TargetPort,
    ...more,
  });

  test.each([
    [[port(8080, 80)], '*:8080->80/tcp'],
    [[port(81, 2), port(80, 1), port(82, 3)], '*:80-82->1-3/tcp'],
    [[port(80, 1), port(81, 1)], '*:80->1/tcp, *:81->1/tcp'],
    [[port(80, 80, { PublishMode: 'host' })], ''],
    [[port(53, 53, { Protocol: 'udp' }), port(53, 53)], '*:53->53/tcp, *:53->53/udp'],
    [undefined, ''],
  ])('%j', (ports, text) => expect(ingressPorts(ports)).toBe(text));

  test('host ports of a task', () => {
    const ports = [port(80, 80, { PublishMode: 'host' }), port(81, 81)];
    expect(hostPorts(ports)).toBe('*:80->80/tcp');
  });

  test('of one address name it, and are no range with those of another', () => {
    const at = (HostIp: string, PublishMode = 'ingress') => ({ HostIp, PublishMode });
    const ports = [port(80, 80), port(81, 81, at('10.0.0.5')), port(82, 82, at('10.0.0.5'))];
    expect(ingressPorts(ports)).toBe('*:80->80/tcp, 10.0.0.5:81-82->81-82/tcp');
    expect(hostPorts([port(80, 80, at('fd00::5', 'host'))])).toBe('[fd00::5]:80->80/tcp');
  });
});
