import { describe, expect, test } from 'vitest';
import { CONTAINER_FILTERS, containerFilter } from '../../../daemon/engineapi/container-filters.ts';
import { Filters } from '../../../daemon/engineapi/filters.ts';
import { aContainerInfo } from '../../support/container-info.ts';

const port = (targetPort: number, hostPort: number, protocol = 'tcp') => ({
  ...{ protocol, targetPort, hostPort, hostIp: '0.0.0.0' },
});

const volume = { name: 'data', path: '/v', target: '/in', readOnly: false };
const shown = { config: { ExposedPorts: { '9000/udp': {} } }, hostConfig: {} };
const ALL = [
  aContainerInfo({ name: 'a', createdAtMs: 1, ports: [port(80, 8080)] }),
  aContainerInfo({ name: 'b', createdAtMs: 2, volumes: [volume] }),
  aContainerInfo({ name: 'c', createdAtMs: 3, ports: [port(53, 5353, 'udp')], shown }),
];

function shownBy(filters: Record<string, string[]>): string {
  const parsed = Filters.parse(JSON.stringify(filters), CONTAINER_FILTERS);
  const isMeant = containerFilter(parsed, (name) => {
    const found = ALL.find((info) => info.name === name);
    if (!found) throw new Error(`No such container: ${name}`);
    return found;
  });
  return parsed
    .named(ALL, ({ name }) => [name, `/${name}`])
    .filter(isMeant)
    .map(({ name }) => name)
    .join('');
}

describe('filters of containers', () => {
  test.each([
    [{}, 'abc'],
    [{ since: ['a'] }, 'bc'],
    [{ before: ['c'] }, 'ab'],
    [{ since: ['a'], before: ['c'] }, 'b'],
    [{ publish: ['8080'] }, 'a'],
    [{ publish: ['80/tcp'] }, 'a'],
    [{ publish: ['5000-6000/udp'] }, 'c'],
    [{ publish: ['53'] }, ''],
    [{ expose: ['9000/udp'] }, 'c'],
    [{ expose: ['80'] }, 'a'],
    [{ volume: ['data'] }, 'b'],
    [{ volume: ['/in'] }, 'b'],
    [{ volume: ['other'] }, ''],
    [{ name: ['^a$', '^/b$'] }, 'ab'],
    [{ name: ['/c'] }, 'c'],
    [{ name: ['[ab]'], publish: ['80'] }, 'a'],
  ])('%j', (filters, expected) => {
    expect(shownBy(filters as Record<string, string[]>)).toBe(expected);
  });

  test.each([
    [{ publish: ['web'] }, "'web' is no port"],
    [{ status: ['stopped'] }, "invalid filter: 'status'='stopped'"],
    [{ health: ['well'] }, "invalid filter: 'health'='well'"],
    [{ exited: ['no'] }, "invalid filter: 'exited'='no'"],
    [{ exited: [''] }, "invalid filter: 'exited'=''"],
    [{ 'is-task': ['maybe'] }, "invalid filter: 'is-task'='maybe'"],
    [{ expose: ['9-1'] }, "'9-1' is no port"],
    [{ since: ['gone'] }, 'No such container: gone'],
  ])('%j is refused', (filters, words) => {
    expect(() => shownBy(filters as Record<string, string[]>)).toThrow(words);
  });
});
