/** A stack file of services with a bit of everything, of 24 lines each. */
const LINES_EACH = 24;

/** @param lines of the whole file; a service takes 24 */
export function stackText(lines: number): string {
  const out = ['services:'];
  for (let at = 0; out.length < lines - LINES_EACH; at++) {
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

/** Lines of a file with so many services. */
export function linesFor(services: number): number {
  return services * LINES_EACH + LINES_EACH + 1;
}
