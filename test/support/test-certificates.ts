/** An authority, a server's and a client's certificate, made with openssl for one test run. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** PEM files. */
export interface TestCertificates {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  readonly clientCertificate: string;
  readonly clientKey: string;
}

/** The server's certificate is for 127.0.0.1 and registry.example; its authority is called "Test CA". */
export function makeCertificates(directory: string): TestCertificates {
  const at = (name: string): string => join(directory, name);
  const openssl = (...arguments_: string[]): void => {
    execFileSync('openssl', arguments_, { stdio: 'ignore' });
  };
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const root = ['-keyout', at('ca.key'), '-out', at('ca.crt'), '-subj', '/CN=Test CA'];
  openssl('req', '-x509', ...newKey, ...root, '-days', '30');
  const issue = (name: string, extension: string): void => {
    const [csr, out] = [at(`${name}.csr`), at(`${name}.crt`)];
    openssl('req', ...newKey, '-keyout', at(`${name}.key`), '-out', csr, '-subj', `/CN=${name}`);
    writeFileSync(at('ext'), extension);
    const authority = ['-CA', at('ca.crt'), '-CAkey', at('ca.key'), '-CAcreateserial'];
    openssl(
      'x509',
      '-req',
      '-in',
      csr,
      ...authority,
      '-days',
      '30',
      '-extfile',
      at('ext'),
      '-out',
      out,
    );
  };
  issue('tls', 'subjectAltName=IP:127.0.0.1,DNS:registry.example\n');
  issue('client', 'extendedKeyUsage=clientAuth\n');
  return {
    ca: at('ca.crt'),
    certificate: at('tls.crt'),
    key: at('tls.key'),
    clientCertificate: at('client.crt'),
    clientKey: at('client.key'),
  };
}
