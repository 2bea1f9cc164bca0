import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { init, update } from '../../../../cli/commands/swarm.ts';
import { ca, rotationState } from '../../../../cli/commands/swarm-ca.ts';
import type { NodeJson } from '../../../../common/model/engine-json/node.ts';
import type { SwarmJson } from '../../../../common/model/engine-json/swarm.ts';
import { runCommand } from '../../../support/cli-command.ts';

const cwd = mkdtempSync(join(tmpdir(), 'swarm-ca-'));
writeFileSync(join(cwd, 'ca.pem'), 'CERTIFICATE\n');
writeFileSync(join(cwd, 'ca.key'), 'KEY\n');
afterAll(() => rmSync(cwd, { recursive: true }));

const URL = 'https://ca.example/sign';

/** Each read of the swarm shows the next state. */
function engine(states: readonly Partial<SwarmJson>[] = [{}]) {
  const sent: unknown[] = [];
  let reads = 0;
  const issued = { TrustRoot: 'NEW', CertIssuerSubject: 's', CertIssuerPublicKey: 'k' };
  return {
    sent,
    engine: {
      swarm: async () => ({
        Version: { Index: 7 },
        Spec: { Name: 'default', CAConfig: { NodeCertExpiry: 5, ForceRotate: 2 } },
        TLSInfo: issued,
        ...states[Math.min(reads++, states.length - 1)],
      }),
      nodes: async () => [{ Description: { TLSInfo: issued } }],
      swarmUpdate: async (version: number, spec: unknown) => void sent.push(version, spec),
    },
  };
}

function sentConfig(sent: readonly unknown[]): object {
  return (sent[1] as { CAConfig: object }).CAConfig;
}

describe('skep swarm ca', () => {
  test('shows the trust root', async () => {
    const { stdout, status } = await runCommand(ca, [], engine());
    expect([status, stdout]).toEqual([0, 'NEW\n']);
  });

  test('rotates to a new root, shows how far that is, and the root in the end', async () => {
    const going = { RootRotationInProgress: true };
    const { sent, engine: said } = engine([{}, going, going, {}]);
    const { stdout, status } = await runCommand(ca, ['--rotate'], { engine: said });
    expect(status).toBe(0);
    expect(sent[0]).toBe(7);
    expect(sentConfig(sent)).toMatchObject({
      NodeCertExpiry: 5,
      ForceRotate: 3,
      SigningCACert: '',
    });
    expect(stdout.split('\n').map((line) => line.replace(/sha256:.*/, 'sha256:'))).toEqual([
      'desired root digest: sha256:',
      '  rotated TLS certificates:  1/1 nodes',
      '  rotated CA certificates:   0/1 nodes',
      'desired root digest: sha256:',
      '  rotated TLS certificates:  1/1 nodes',
      '  rotated CA certificates:   1/1 nodes',
      'NEW',
      '',
    ]);
  });

  test.each([
    [
      ['--ca-cert', 'ca.pem', '--ca-key', 'ca.key'],
      { SigningCACert: 'CERTIFICATE\n', SigningCAKey: 'KEY\n', ForceRotate: 2 },
    ],
    [
      ['--ca-cert', 'ca.pem', '--external-ca', `protocol=cfssl,url=${URL}`],
      {
        ExternalCAs: [{ Protocol: 'cfssl', URL, Options: {}, CACert: 'CERTIFICATE\n' }],
        SigningCAKey: '',
      },
    ],
    [['--cert-expiry', '48h'], { NodeCertExpiry: 48 * 3600e9, ForceRotate: 3 }],
  ])('--rotate %j --detach asks for that, and says nothing', async (flags, config) => {
    const { sent, engine: said } = engine();
    const args = ['--rotate', '--detach', ...flags];
    const { stdout, status } = await runCommand(ca, args, { engine: said, cwd });
    expect([status, stdout]).toEqual([0, '']);
    expect(sentConfig(sent)).toMatchObject(config);
  });

  test.each([
    [['--ca-cert', 'ca.pem'], '`--ca-cert` flag requires the `--rotate` flag to update the CA'],
    [['--external-ca', 'x'], '`--external-ca` flag requires the `--rotate` flag'],
    [
      ['--rotate', '--ca-cert', 'ca.pem'],
      'requires that a --ca-key flag and/or --external-ca flag',
    ],
    [['--rotate', '--ca-key', 'ca.key'], 'requires that a --ca-cert flag be provided'],
    [['--rotate', '--external-ca', 'x=y'], 'requires the `--ca-cert` flag'],
    [['--rotate', '--ca-cert', 'none', '--ca-key', 'ca.key'], 'none: no such file or directory'],
    [['--rotate', '--ca-cert', 'ca.pem', '--external-ca', 'cfssl'], "invalid field 'cfssl'"],
    [
      ['--rotate', '--ca-cert', 'ca.pem', '--external-ca', 'protocol=acme,url=x'],
      'unrecognized external CA protocol acme',
    ],
    [['--rotate', '--ca-cert', 'ca.pem', '--external-ca', 'url=x'], 'needs a protocol= parameter'],
    [
      ['--rotate', '--ca-cert', 'ca.pem', '--external-ca', 'protocol=cfssl'],
      'needs a url= parameter',
    ],
  ])('refuses %j', async (flags, words) => {
    const { sent, engine: said } = engine();
    const { stderr, status } = await runCommand(ca, flags, { engine: said, cwd });
    expect([status, stderr]).toEqual([1, expect.stringContaining(words)]);
    expect(sent).toEqual([]);
  });

  test('is not over while a node uses or trusts another root', () => {
    const TLSInfo = { TrustRoot: 'NEW', CertIssuerSubject: 's', CertIssuerPublicKey: 'k' };
    const swarm = { TLSInfo } as SwarmJson;
    const node = (info: object) => ({ Description: { TLSInfo: info } }) as NodeJson;
    const old = { ...TLSInfo, CertIssuerPublicKey: 'old' };
    expect(rotationState(swarm, [node(TLSInfo), node(old)])).toMatchObject({
      certificates: 1,
      roots: 0,
      isOver: false,
    });
    const distrusting = { ...TLSInfo, TrustRoot: 'OLD' };
    expect(rotationState(swarm, [node(TLSInfo), node(distrusting)])).toMatchObject({
      certificates: 2,
      roots: 1,
      isOver: false,
    });
  });
});

test('skep swarm init --external-ca names who has the key of the root, and how snapshots are taken', async () => {
  const sent: { Spec: object }[] = [];
  const said = {
    swarmInit: async (request: { Spec: object }) => {
      sent.push(request);
      return 'node';
    },
    node: async () => ({ ManagerStatus: { Addr: '10.0.0.1:2377' } }),
    swarm: async () => ({ JoinTokens: { Worker: 'SWMTKN-1-x' } }),
  };
  const flags = ['--external-ca', `protocol=cfssl,url=${URL},cacert=ca.pem`];
  const raft = ['--snapshot-interval', '500', '--max-snapshots', '2'];
  const { status } = await runCommand(init, [...flags, ...raft], { engine: said, cwd });
  expect(status).toBe(0);
  expect(sent[0]!.Spec).toMatchObject({
    CAConfig: { ExternalCAs: [{ Protocol: 'cfssl', URL, CACert: 'CERTIFICATE\n' }] },
    Raft: { SnapshotInterval: 500, KeepOldSnapshots: 2 },
  });
});

test('skep swarm update --external-ca names one for the present root', async () => {
  const { sent, engine: said } = engine();
  const spec = `protocol=cfssl,url=${URL},cacert=ca.pem`;
  const { stdout } = await runCommand(update, ['--external-ca', spec], { engine: said, cwd });
  expect(stdout).toBe('Swarm updated.\n');
  expect(sentConfig(sent)).toMatchObject({
    ForceRotate: 2,
    ExternalCAs: [{ URL, CACert: 'CERTIFICATE\n' }],
  });
});
