/**
 * Builds the two images of examples/stack.yml from this machine's static busybox.
 *   tsx scripts/demo-images.ts DIRECTORY   -> DIRECTORY/mysql.tar, DIRECTORY/wordpress.tar
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { buildBusyboxImage } from '../test/support/image-builder.ts';

const script = (...lines: string[]) => ({
  content: `${['#!/bin/sh', ...lines].join('\n')}\n`,
  mode: 0o755,
});

/** As pid 1 a shell gets no default action for SIGTERM: it says itself that it ends at once. */
const serve = (port: number): readonly string[] => [
  `httpd -f -v -p ${port} -h /www &`,
  "trap 'kill $!; exit 0' TERM",
  'wait $!',
];

/** `mysql`: an HTTP service on 3306 that counts its visits in a file on its volume. */
const MYSQL_FILES = {
  'www/cgi-bin/index.cgi': script(
    'file=/var/lib/mysql/visits',
    'n=$(cat $file 2>/dev/null || echo 0)',
    'n=$((n + 1))',
    'echo $n > $file.new && mv $file.new $file',
    "printf 'Content-Type: text/plain\\r\\n\\r\\nvisit %s\\n' $n",
  ),
  'entrypoint.sh': script(
    'mkdir -p /var/lib/mysql',
    'echo "ready for connections, database $MYSQL_DATABASE"',
    ...serve(3306),
  ),
};

/** `wordpress`: an HTTP service on 80 that asks the database, by name, for each page. */
const WORDPRESS_FILES = {
  'www/health.html': 'ok\n',
  'www/cgi-bin/index.cgi': script(
    "printf 'Content-Type: text/plain\\r\\n\\r\\n'",
    'echo "hello from $(hostname), you are $REMOTE_ADDR"',
    'echo "the database says: $(wget -q -O - http://$(cat /run/db-host)/ 2>&1)"',
  ),
  'entrypoint.sh': script(
    'mkdir -p /run',
    'echo "$WORDPRESS_DB_HOST" > /run/db-host',
    'echo "serving on port 80, database at $WORDPRESS_DB_HOST"',
    ...serve(80),
  ),
};

const directory = process.argv[2] ?? '.';
mkdirSync(directory, { recursive: true });
buildBusyboxImage({
  name: 'skep-demo/mysql:1',
  outTar: join(directory, 'mysql.tar'),
  files: MYSQL_FILES,
  cmd: ['/entrypoint.sh'],
  volumes: ['/var/lib/mysql'],
  exposedPorts: ['3306/tcp'],
});
buildBusyboxImage({
  name: 'skep-demo/wordpress:1',
  outTar: join(directory, 'wordpress.tar'),
  files: WORDPRESS_FILES,
  cmd: ['/entrypoint.sh'],
  exposedPorts: ['80/tcp'],
});
