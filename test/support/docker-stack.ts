/** A stack file with each key that `docker stack deploy` takes, the files beside it, and a second one to lay over it. */
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const FIXTURE = fileURLToPath(new URL('../fixtures/compose/docker-stack.yml', import.meta.url));

export const DOCKER_STACK = 'docker-stack.yml';
export const OVER_DOCKER_STACK = 'over.yml';

/** Of the command that reads it. */
export const DOCKER_STACK_ENV = { HOME: '/home/me', PASSED: 'through', PASSED2: 'too', TAG: '3' };

const BESIDE = {
  'key.txt': 'secret\n',
  'app.env': '# c\nFROM=file\nQ="quoted $TAG"\nPASSED2\nB=over\n',
  [OVER_DOCKER_STACK]: `version: "3.13"
services:
  main:
    ports: ["8080:99", "12:12"]
    volumes: ["./other:/html"]
    dns: [8.8.8.8]
    environment: [A=2]
    deploy: {replicas: 0}
    command: [x]
    cap_add: [CHOWN]
`,
};

export function writeDockerStack(dir: string): void {
  cpSync(FIXTURE, join(dir, DOCKER_STACK));
  for (const [name, text] of Object.entries(BESIDE)) writeFileSync(join(dir, name), text);
}
