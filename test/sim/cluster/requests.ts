/** What a user may ask for next, and how it is asked. */
import type { SeededRandom } from '../../../common/base/random.ts';
import type { NodeSpec } from '../../../common/model/node.ts';
import type { Service } from '../../../common/model/service.ts';
import type { ControlApi } from '../../../manager/controlapi/control-api.ts';
import { aConfigSpec, aNetworkSpec, aSecretSpec } from '../../support/builders.ts';
import type { Operator } from './operator.ts';
import { SpecMaker, type Surroundings } from './specs.ts';
import type { ClusterWorld } from './world.ts';

export interface Request {
  readonly name: string;
  /** Resolves with words for the trace. */
  readonly perform: (control: ControlApi) => Promise<string>;
}

const WEIGHTS = {
  'create-service': 6,
  'update-service': 8,
  'scale-service': 5,
  'roll-back': 2,
  'remove-service': 2,
  'create-network': 1,
  'remove-network': 1,
  'create-secret': 1,
  'remove-secret': 1,
  'create-config': 1,
  'remove-config': 1,
  availability: 4,
  labels: 2,
  role: 2,
  join: 1,
  leave: 1,
  'remove-node': 1,
} as const;

type Kind = keyof typeof WEIGHTS;

export class Requests {
  readonly #world: ClusterWorld;
  readonly #random: SeededRandom;
  readonly #specs: SpecMaker;
  readonly #operator: Operator;
  #names = 0;
  #writes = 0;

  constructor(world: ClusterWorld, operator: Operator) {
    this.#world = world;
    this.#operator = operator;
    this.#random = world.fork();
    this.#specs = new SpecMaker(world.plan, world.fork());
  }

  next(): Request {
    const kind = this.#draw();
    return { name: kind, perform: (control) => this.#perform(kind, control) };
  }

  #draw(): Kind {
    const services = this.#world.view((view) => view.count('service'));
    if (services === 0) return 'create-service';
    const kinds = Object.entries(WEIGHTS).filter(
      ([kind]) => kind !== 'create-service' || services < this.#world.plan.servicesMax,
    );
    let left = this.#random.below(kinds.reduce((sum, [, weight]) => sum + weight, 0));
    for (const [kind, weight] of kinds) {
      left -= weight;
      if (left < 0) return kind as Kind;
    }
    return 'create-service';
  }

  async #perform(kind: Kind, control: ControlApi): Promise<string> {
    switch (kind) {
      case 'create-service':
        return this.#createService(control);
      case 'update-service':
        return this.#updateService(control, (spec, write, around) =>
          this.#specs.change(spec, write, around),
        );
      case 'scale-service':
        return this.#updateService(control, (spec, write) => this.#specs.scale(spec, write));
      case 'roll-back':
        return this.#rollBack(control);
      case 'remove-service':
        return this.#removeService(control);
      case 'create-network':
        return this.#create((name) => control.createNetwork(aNetworkSpec({ name })));
      case 'remove-network': {
        const network = this.#any(await control.listNetworks({}));
        return network === undefined ? '' : ` ${await control.removeNetwork(network.id)}`;
      }
      case 'create-secret':
        return this.#create((name) => control.createSecret(aSecretSpec({ name })));
      case 'remove-secret': {
        const secret = this.#any(await control.listSecrets({}));
        return secret === undefined ? '' : ` ${await control.removeSecret(secret.id)}`;
      }
      case 'create-config':
        return this.#create((name) => control.createConfig(aConfigSpec({ name })));
      case 'remove-config': {
        const config = this.#any(await control.listConfigs({}));
        return config === undefined ? '' : ` ${await control.removeConfig(config.id)}`;
      }
      case 'availability':
        return this.#updateNode(control, (spec) => {
          const availability = this.#any(['active', 'active', 'pause', 'drain'] as const)!;
          return { ...spec, availability };
        });
      case 'labels':
        return this.#updateNode(control, (spec) => {
          const zone = this.#any(['a', 'b'])!;
          return { ...spec, labels: { zone } };
        });
      case 'role':
        return this.#updateNode(control, (spec) => {
          const desiredRole = spec.desiredRole === 'manager' ? 'worker' : 'manager';
          return { ...spec, desiredRole };
        });
      case 'join':
        return this.#operator.joinOne();
      case 'leave':
        return this.#operator.takeAway();
      case 'remove-node':
        return this.#operator.removeNode(control);
    }
  }

  async #createService(control: ControlApi): Promise<string> {
    const write = ++this.#writes;
    const spec = this.#specs.create(`s${++this.#names}`, write, await this.#around(control));
    const entry = { serviceId: null, spec, acknowledged: false };
    this.#world.ledger.writes.set(write, entry);
    const { id } = await control.createService(spec);
    this.#world.ledger.writes.set(write, { serviceId: id, spec, acknowledged: true });
    return ` ${spec.name} ${id} by write ${write}`;
  }

  async #updateService(
    control: ControlApi,
    change: (spec: Service['spec'], write: number, around: Surroundings) => Service['spec'],
  ): Promise<string> {
    const service = this.#any(await control.listServices());
    if (service === undefined) return '';
    const write = ++this.#writes;
    const spec = change(service.spec, write, await this.#around(control));
    this.#world.ledger.writes.set(write, { serviceId: service.id, spec, acknowledged: false });
    await control.updateService(service.id, service.meta.version, spec);
    this.#world.ledger.writes.set(write, { serviceId: service.id, spec, acknowledged: true });
    return ` ${spec.name} by write ${write}`;
  }

  async #rollBack(control: ControlApi): Promise<string> {
    const service = this.#any(await control.listServices());
    if (service === undefined || service.previousSpec === null) return '';
    const { id, meta, spec } = service;
    await control.updateService(id, meta.version, spec, { rollback: true });
    return ` ${spec.name}`;
  }

  async #removeService(control: ControlApi): Promise<string> {
    const service = this.#any(await control.listServices());
    if (service === undefined) return '';
    const removal = { acknowledged: false };
    this.#world.ledger.removals.set(service.id, removal);
    await control.removeService(service.id);
    removal.acknowledged = true;
    return ` ${service.spec.name}`;
  }

  async #updateNode(control: ControlApi, change: (spec: NodeSpec) => NodeSpec): Promise<string> {
    const node = this.#any(await control.listNodes());
    if (node === undefined) return '';
    const spec = change(node.spec);
    await control.updateNode(node.id, node.meta.version, spec);
    return ` ${node.id}: ${spec.desiredRole} ${spec.availability} ${JSON.stringify(spec.labels)}`;
  }

  async #create(make: (name: string) => Promise<{ readonly id: string }>): Promise<string> {
    const { id } = await make(`x${++this.#names}`);
    return ` ${id}`;
  }

  async #around(control: ControlApi): Promise<Surroundings> {
    const networks = await control.listNetworks();
    const secrets = await control.listSecrets();
    const configs = await control.listConfigs();
    return { networks: networks.filter(({ spec }) => !spec.ingress), secrets, configs };
  }

  #any<T>(items: readonly T[]): T | undefined {
    return items.length === 0 ? undefined : items[this.#random.below(items.length)];
  }
}
