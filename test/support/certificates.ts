/** An authority and what it issued, as files named as Docker's clients and daemons want them. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
const DAYS = ['-days', '2'];

export interface CertificateFolder {
  readonly dir: string;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Makes `<dir>/<name>/{ca,cert,key}.pem` for each name, all of one authority, for 127.0.0.1. */
export function makeCertificates(
  dir: string,
  names: readonly string[],
): Record<string, CertificateFolder> {
  const at = (name: string): string => join(dir, name);
  const openssl = (...args: string[]): void => {
    execFileSync('openssl', args, { stdio: 'ignore' });
  };
  const authority = ['-keyout', at('ca.key'), '-out', at('ca.pem'), '-subj', '/CN=Test CA'];
  openssl('req', '-x509', ...NEW_KEY, ...DAYS, ...authority);
  writeFileSync(at('ext'), 'subjectAltName=IP:127.0.0.1\n');
  const made = names.map((name) => {
    const own = (file: string): string => join(dir, name, file);
    mkdirSync(at(name));
    openssl(
      'req',
      ...NEW_KEY,
      '-keyout',
      own('key.pem'),
      '-out',
      at('csr'),
      '-subj',
      `/CN=${name}`,
    );
    openssl(
      ...['x509', '-req', '-in', at('csr'), '-CA', at('ca.pem'), '-CAkey', at('ca.key')],
      ...['-CAcreateserial', ...DAYS, '-extfile', at('ext'), '-out', at('cert')],
    );
    renameSync(at('cert'), own('cert.pem'));
    execFileSync('cp', [at('ca.pem'), own('ca.pem')]);
    return [name, { dir: at(name), ca: own('ca.pem'), cert: own('cert.pem'), key: own('key.pem') }];
  });
  return Object.fromEntries(made);
}
