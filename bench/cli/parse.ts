/**
 * A stack file of 10,000 lines: from its text to the specs of its services, everything checked. In
 * fresh processes, because a command is one; and warm, for what a longer one would see.
 */
import { fileURLToPath } from 'node:url';
import { HelperProcess } from '../support/helper-process.ts';
import { figure } from '../support/report.ts';
import { median } from '../support/statistics.ts';
import type { ParseOperations } from './parse-process.ts';

const LINES = 10_000;
const PROCESSES = 7;
const WARM_LOADS = 20;
const PROCESS = fileURLToPath(new URL('./parse-process.js', import.meta.url));

/** Services with a bit of everything, of 24 lines each. */
function stackFile(lines: number): string {
  const out = ['services:'];
  for (let at = 0; out.length < lines - 24; at++) {
    out.push(
      `  service-${at}:`,
      `    image: registry.example/app:1.\${VERSION:-25}`,
      '    command: ["serve", "--verbose"]',
      '    environment:',
      '      MODE: production',
      `      NUMBER: "${at}"`,
      '      TARGET: \u0024{TARGET:-nowhere}',
      '    ports:',
      `      - "${1024 + at}:80"`,
      '      - target: 9000',
      `        published: ${20_000 + at}`,
      '    volumes:',
      '      - data:/var/lib/data',
      '    networks: [front]',
      '    deploy:',
      '      replicas: 2',
      '      resources:',
      '        limits: {cpus: "0.5", memory: 64M}',
      '      update_config:',
      '        delay: 10s',
      '    healthcheck:',
      '      test: curl -f http://localhost',
      '      interval: 5s',
      '    restart: always',
    );
  }
  while (out.length < lines - 4) out.push('# the last lines');
  return [...out, 'volumes:', '  data: {}', 'networks:', '  front: {}', ''].join('\n');
}

export async function parse(): Promise<void> {
  const text = stackFile(LINES);
  const cold: number[] = [];
  let warm: number[] = [];
  for (let round = 0; round < PROCESSES; round++) {
    const helper = new HelperProcess<ParseOperations>(PROCESS);
    cold.push(await helper.ask('load', text));
    if (round === 0) {
      for (let load = 0; load < WARM_LOADS; load++) warm.push(await helper.ask('load', text));
      warm = warm.slice(WARM_LOADS / 2);
    }
    await helper.kill();
  }
  figure('parse_10k_lines_ms', median(cold));
  figure('parse_10k_lines_warm_ms', median(warm));
}
