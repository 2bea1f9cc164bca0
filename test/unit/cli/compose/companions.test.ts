import { describe, expect, test } from 'vitest';
import { lintStack, loadStack } from '../../../../cli/compose/load-stack.ts';
import { startDependencies } from '../../../../common/model/start-order.ts';
import { stackRequestOf } from '../../../support/stack-files.ts';

const request = (web: string, db = '') =>
  stackRequestOf({
    files: { 'f.yml': `services:\n  db: {image: db${db}}\n  web: {image: web, ${web}}\n` },
  });
const problemsOf = (web: string, db = ''): readonly string[] =>
  lintStack(request(web, db)).problems.map(
    ({ line, column, message }) => `${line}:${column}: ${message}`,
  );
function webOf(web: string, db = '') {
  const { spec } = loadStack(request(web, db)).stack.services.find(({ key }) => key === 'web')!;
  const { ContainerSpec, Networks } = spec.TaskTemplate;
  return {
    networks: Networks,
    pid: ContainerSpec.PidMode,
    ipc: ContainerSpec.IpcMode,
    waits: startDependencies(spec.Labels ?? {}),
  };
}

describe('a service with namespaces of another', () => {
  const started = [{ service: 'shop_db', condition: 'service_started' }];

  test.each([
    ['network_mode: "service:db"', { networks: [{ Target: 'service:shop_db' }] }],
    ['pid: "service:db"', { pid: 'service:shop_db' }],
    ['ipc: "service:db"', { ipc: 'service:shop_db' }],
  ])('%s: names it as the cluster does, and starts after it', (keys, expected) => {
    expect(webOf(keys)).toMatchObject({ ...expected, waits: started });
  });

  test('may name it by its container_name', () => {
    const { networks, waits } = webOf('network_mode: "container:box"', ', container_name: box');
    expect([networks, waits]).toEqual([[{ Target: 'service:shop_db' }], started]);
  });

  test('waits as it says itself, where it says so', () => {
    const depends = 'depends_on: {db: {condition: service_completed_successfully}}';
    expect(webOf(`pid: "service:db", ${depends}`).waits).toEqual([
      { service: 'shop_db', condition: 'service_completed_successfully' },
    ]);
  });

  test.each([
    [
      'network_mode: "service:bd"',
      '',
      [
        '3:35: services.web.network_mode: there is no service "bd" in this deployment; did you mean db?',
      ],
    ],
    [
      'pid: "container:bax"',
      ', container_name: box',
      [
        '3:26: services.web.pid: "bax" is the container_name of no service of this deployment; containers that others made are on one node only; did you mean box?',
      ],
    ],
    ['ipc: "service:web"', '', ['3:26: services.web.ipc: a service cannot share its own']],
    [
      'network_mode: "service:db"',
      ', network_mode: "service:web"',
      ['3:35: services.web.network_mode: services wait for each other in a ring: db -> web -> db'],
    ],
    [
      'network_mode: "service:db", networks: [default]',
      '',
      ['3:35: services.web.network_mode and networks cannot be given together'],
    ],
    [
      'network_mode: "service:db", ports: ["80:80"]',
      '',
      [
        '3:56: services.web.ports: port 80: a service in the network of another publishes no ports: publish it there',
      ],
    ],
    [
      'network_mode: "service:db", dns: 192.0.2.1',
      '',
      ["3:54: services.web.dns: the network is another service's, where this is given"],
    ],
  ])('%s beside a service with "%s" is refused at its place', (web, db, expected) => {
    expect(problemsOf(web, db)).toEqual(expected);
  });

  test('has no names, which is told', () => {
    const { facts } = lintStack(request('network_mode: none, container_name: box'));
    expect(facts).toContainEqual(
      expect.objectContaining({ path: 'services.web.container_name', kind: 'ignored' }),
    );
  });
});
