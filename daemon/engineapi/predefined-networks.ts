/** The networks that every engine has and nobody makes: bridge, host and none. */
import { createHash } from 'node:crypto';
import type { EngineEvent } from '../../common/model/engine-event.ts';
import {
  isPredefinedNetwork,
  PREDEFINED_NETWORKS,
} from '../../common/model/predefined-networks.ts';
import type { ServiceSpec } from '../../common/model/service.ts';
import { wordNetworkToJson } from './json/local-network.ts';

/** As `docker service create --network host` asks for it before it names it: the cluster's is called by its word. */
export function clusterRowOf(name: string): object | null {
  if (!isPredefinedNetwork(name)) return null;
  const driver = PREDEFINED_NETWORKS.includes(name) && name !== 'none' ? name : 'null';
  const row = wordNetworkToJson({ id: name, name, driver });
  return { ...row, Scope: 'swarm', Labels: { 'com.docker.swarm.predefined': 'true' } };
}

/** The spec with words in place of the ids that this engine has for predefined networks. */
export function withPredefinedWords(engineId: string, spec: ServiceSpec): ServiceSpec {
  const networks = spec.task.networks.map((attachment) => ({
    ...attachment,
    target: predefinedNetworkName(engineId, attachment.target) ?? attachment.target,
  }));
  return { ...spec, task: { ...spec.task, networks } };
}

/** Of this engine alone; a name that is none of the three has one, too. */
export function predefinedNetworkId(engineId: string, name: string): string {
  return createHash('sha256').update(`${engineId}/${name}`).digest('hex');
}

/** What happened on this node, with this engine's id in place of the word that the worker has for a predefined network. */
export function withPredefinedId(engineId: string, event: EngineEvent): EngineEvent {
  const isWord = event.type === 'network' && PREDEFINED_NETWORKS.includes(event.id);
  return isWord ? { ...event, id: predefinedNetworkId(engineId, event.id) } : event;
}

/** The name behind such an id; null for any other text. */
export function predefinedNetworkName(engineId: string, id: string): string | null {
  return PREDEFINED_NETWORKS.find((name) => predefinedNetworkId(engineId, name) === id) ?? null;
}
