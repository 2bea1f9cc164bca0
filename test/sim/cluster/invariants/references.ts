/** A service names nothing that is not there: no secret, config or network is removed that one uses. */
import type { Service } from '../../../../common/model/service.ts';
import type { Commit, ReadView } from '../../../../manager/store/types.ts';
import { expect } from '../../checker.ts';
import type { ClusterChecker } from '../checker.ts';

export class NothingNamedIsGone implements ClusterChecker {
  readonly number = 13;
  readonly name = 'what a service names is there';

  committed({ changes }: Commit, view: ReadView): void {
    for (const { kind, action, object } of changes) {
      if (kind === 'service' && action !== 'remove') look(view, object);
      else if (
        (kind === 'secret' || kind === 'config' || kind === 'network') &&
        action === 'remove'
      ) {
        for (const service of view.list('service')) look(view, service);
      }
    }
  }
}

function look(view: ReadView, { spec }: Service): void {
  const { networks, container } = spec.task;
  for (const { target } of networks) {
    const isThere = view.get('network', target) !== undefined;
    expect(isThere, () => `service ${spec.name} names network ${target}, which is gone`);
  }
  for (const { secretId } of container.secrets) {
    const isThere = view.get('secret', secretId) !== undefined;
    expect(isThere, () => `service ${spec.name} names secret ${secretId}, which is gone`);
  }
  for (const { configId } of container.configs) {
    const isThere = view.get('config', configId) !== undefined;
    expect(isThere, () => `service ${spec.name} names config ${configId}, which is gone`);
  }
}
