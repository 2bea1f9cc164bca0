import { describe, expect, test } from 'vitest';
import {
  type ContainerSpec,
  DEFAULT_ISOLATION,
  type Isolation,
} from '../../../common/model/service.ts';
import {
  checkForbidden,
  checkForbiddenExec,
  FORBIDDABLE,
  type Forbidden,
} from '../../../worker/executor/forbidden.ts';
import { aContainerSpec } from '../../support/builders.ts';

const isolated = (isolation: Partial<Isolation>): ContainerSpec =>
  aContainerSpec({ isolation: { ...DEFAULT_ISOLATION, ...isolation } });
const profiles = (seccomp: 'default' | 'custom', apparmor: 'default' | 'disabled') =>
  aContainerSpec({
    privileges: {
      noNewPrivileges: true,
      seccomp: { mode: seccomp, profile: '' },
      apparmor: { mode: apparmor, profile: '' },
    },
  });
const device = { hostPath: '/dev/fuse', containerPath: '/dev/fuse', permissions: 'rwm' };

/** The words that stand against it, of all that there are. */
function wordsAgainst(container: ContainerSpec, isOnHostNetwork = false): Forbidden[] {
  return FORBIDDABLE.filter((word) => {
    try {
      checkForbidden(new Set([word]), container, isOnHostNetwork);
      return false;
    } catch (err) {
      expect(String(err)).toContain(`this node does not allow ${word} (skepd --forbid)`);
      return true;
    }
  });
}

describe('what an operator forbids', () => {
  test.each<[string, ContainerSpec, Forbidden[]]>([
    ['nothing of it', aContainerSpec(), []],
    ['what is private', isolated({}), []],
    [
      'privileged, which has all of these',
      isolated({ privileged: true }),
      ['privileged', 'devices', 'capabilities', 'profiles'],
    ],
    ['pid: host', isolated({ pid: 'host' }), ['host-pid']],
    ['ipc: host', isolated({ ipc: 'host' }), ['host-ipc']],
    ['ipc: none', isolated({ ipc: 'none' }), []],
    ['uts: host', isolated({ uts: 'host' }), ['host-uts']],
    ['userns_mode: host', isolated({ user: 'host' }), ['host-users']],
    ['devices', isolated({ devices: [device] }), ['devices']],
    ['device_cgroup_rules', isolated({ deviceRules: ['a *:* rwm'] }), ['devices']],
    ['cap_add', aContainerSpec({ capabilityAdd: ['CAP_SYS_ADMIN'] }), ['capabilities']],
    ['no-new-privileges alone', profiles('default', 'default'), []],
    ['a seccomp profile', profiles('custom', 'default'), ['profiles']],
    ['no AppArmor', profiles('default', 'disabled'), ['profiles']],
  ])('%s', (_, container, words) => expect(wordsAgainst(container)).toEqual(words));

  test('the network of the node, however it is named', () => {
    expect(wordsAgainst(aContainerSpec(), true)).toEqual(['host-network']);
  });

  test('a privileged command in a container, which has no devices of its own', () => {
    const against = FORBIDDABLE.filter((word) => {
      const words = new Set([word]);
      checkForbiddenExec(words, { privileged: false });
      try {
        checkForbiddenExec(words, { privileged: true });
        return false;
      } catch (err) {
        expect(String(err)).toContain(`does not allow ${word} (`);
        return true;
      }
    });
    expect(against).toEqual(['privileged', 'capabilities', 'profiles']);
    checkForbiddenExec(new Set(), { privileged: true });
  });
});
