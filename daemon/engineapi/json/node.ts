/** Nodes: Docker's JSON and our model. */
import { SkepError } from '../../../common/base/errors.ts';
import type { Node, NodeSpec } from '../../../common/model/node.ts';
import { isoTime } from './common.ts';
import type { JsonReader } from './reader.ts';
import { genericToJson } from './service.ts';
import { some } from './some.ts';

/** What Raft says of a manager node; never taken from the store. */
export interface ManagerStatus {
  readonly leader: boolean;
  readonly reachable: boolean;
  readonly address: string;
}

export function nodeSpecFromJson(json: JsonReader): NodeSpec {
  const role = json.string('Role').toLowerCase();
  const availability = json.string('Availability').toLowerCase();
  if (role !== 'worker' && role !== 'manager') {
    throw new SkepError(
      'invalid-argument',
      `invalid Role: ${JSON.stringify(role)}: it is worker or manager`,
    );
  }
  if (availability !== 'active' && availability !== 'pause' && availability !== 'drain') {
    throw new SkepError(
      'invalid-argument',
      `invalid Availability: ${JSON.stringify(availability)}: it is active, pause or drain`,
    );
  }
  return {
    name: json.string('Name'),
    labels: json.stringMap('Labels'),
    desiredRole: role,
    availability,
  };
}

export function nodeToJson(node: Node, manager: ManagerStatus | null): object {
  const { description, spec, status } = node;
  return {
    ID: node.id,
    Version: { Index: node.meta.version },
    CreatedAt: isoTime(node.meta.createdAtMs),
    UpdatedAt: isoTime(node.meta.updatedAtMs),
    Spec: {
      ...some('Name', spec.name),
      Labels: spec.labels,
      Role: spec.desiredRole,
      Availability: spec.availability,
    },
    Description: description
      ? {
          Hostname: description.hostname,
          Platform: {
            Architecture: description.platform.architecture,
            OS: description.platform.os,
          },
          Resources: {
            NanoCPUs: description.nanoCpus,
            MemoryBytes: description.memoryBytes,
            ...some('GenericResources', description.generic.map(genericToJson)),
          },
          Engine: {
            EngineVersion: description.engineVersion,
            ...some('Labels', description.engineLabels),
            Plugins: description.plugins.map(({ type, name }) => ({ Type: type, Name: name })),
          },
          TLSInfo: description.tlsInfo
            ? {
                TrustRoot: description.tlsInfo.trustRootPem,
                CertIssuerSubject: Buffer.from(description.tlsInfo.certIssuerSubject).toString(
                  'base64',
                ),
                CertIssuerPublicKey: Buffer.from(description.tlsInfo.certIssuerPublicKey).toString(
                  'base64',
                ),
              }
            : {},
        }
      : {},
    Status: {
      State: status.state,
      ...some('Message', status.message),
      Addr: status.address,
    },
    ...(manager && {
      ManagerStatus: {
        ...some('Leader', manager.leader),
        Reachability: manager.reachable ? 'reachable' : 'unreachable',
        Addr: manager.address,
      },
    }),
  };
}
