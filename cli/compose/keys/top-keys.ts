/** The keys of the top level, and of the networks, volumes, secrets and configs that it declares. */
import { describeError } from '../../../common/base/errors.ts';
import { parseVolumeOptions } from '../../../common/model/volume-options.ts';
import type { Value } from '../tree.ts';
import {
  ANYTHING,
  dict,
  either,
  FILE,
  FLAG,
  honoured,
  INTEGER,
  ignored,
  isOneOf,
  type Key,
  type KeyTable,
  list,
  map,
  mapped,
  NAMES,
  nullable,
  ON,
  OPTIONS,
  PAIRS,
  refused,
  refusedUnless,
  type Shape,
  section,
  TEXT,
  TEXT_LIST,
  TEXT_OR_SET,
  type Verdict,
} from './key.ts';
import { SERVICE_KEYS } from './service-keys.ts';

/** `true`, or the name in the cluster. */
const external = (extra: { readonly open?: true }): Key =>
  honoured(
    'an object that is there already',
    either(FLAG, map({ name: honoured('Name', TEXT) }, extra)),
  );

/** Options of networks that have an effect. */
const NETWORK_OPTIONS = [
  'com.docker.network.driver.mtu',
  'com.docker.network.driver.overlay.vxlanid_list',
  'encrypted',
];

/** What the node would say. */
function judgeVolumeOptions(value: Value): Verdict | null {
  if (value.kind !== 'map') return null;
  const options = Object.fromEntries(
    Array.from(value.entries, ([name, { value: one }]) => [
      name,
      one.kind === 'scalar' ? one.text : '',
    ]),
  );
  if (Object.values(options).some((text) => text.includes('{{'))) return null;
  try {
    parseVolumeOptions(options);
    return null;
  } catch (err) {
    return { kind: 'refused', why: describeError(err) };
  }
}

function judgeNetworkOptions(value: Value): Verdict | null {
  if (value.kind !== 'map') return null;
  for (const name of value.entries.keys()) {
    if (NETWORK_OPTIONS.includes(name)) continue;
    return { kind: 'refused', why: `option "${name}" of networks is not supported yet` };
  }
  return null;
}

const NETWORK_KEYS: KeyTable = {
  name: honoured('Name', TEXT),
  external: external({}),
  driver: refusedUnless(
    ['overlay', ''],
    'a network of another driver is made by `skep network create --scope swarm` and named here as external',
    TEXT,
  ),
  driver_opts: { ...honoured('Options', OPTIONS), judge: judgeNetworkOptions },
  internal: honoured('Internal', FLAG),
  attachable: honoured('Attachable', FLAG),
  enable_ipv4: refusedUnless(ON, 'overlay networks have IPv4', FLAG),
  enable_ipv6: honoured('EnableIPv6', FLAG),
  labels: honoured('Labels', PAIRS, 'pairs'),
  ipam: section(
    map({
      driver: refusedUnless(['default', ''], 'addresses are given by the cluster itself', TEXT),
      options: refused("the cluster's own IPAM has no options", dict(TEXT)),
      config: section(
        list(
          map({
            subnet: honoured('IPAM.Config.Subnet', TEXT),
            ip_range: honoured('IPAM.Config.IPRange', TEXT),
            gateway: honoured('IPAM.Config.Gateway', TEXT),
            aux_addresses: honoured('IPAM.Config.AuxiliaryAddresses', dict(TEXT)),
          }),
        ),
      ),
    }),
  ),
};

const VOLUME_KEYS: KeyTable = {
  name: honoured('Mounts.Source', TEXT),
  external: external({}),
  driver: refusedUnless(['local', ''], 'the only driver of volumes is local', TEXT),
  driver_opts: {
    ...honoured('Mounts.VolumeOptions.DriverConfig.Options', OPTIONS),
    judge: judgeVolumeOptions,
  },
  labels: honoured('Mounts.VolumeOptions.Labels', PAIRS, 'pairs'),
  'x-cluster-spec': refused('cluster volumes are not supported', ANYTHING),
};

const FILE_KEYS: KeyTable = {
  name: honoured('Name', TEXT),
  external: external({ open: true }),
  file: honoured('Data: the file of the machine that deploys', FILE),
  environment: honoured('Data: the variable of the command that deploys', TEXT),
  labels: honoured('Labels', PAIRS, 'pairs'),
  template_driver: {
    ...honoured('Templating.Name', TEXT),
    judge: (value) =>
      isOneOf(value, ['golang'])
        ? null
        : { kind: 'refused', why: 'the only template driver is golang' },
  },
};

const SECRET_KEYS: KeyTable = {
  ...FILE_KEYS,
  driver: refused('secrets are kept by the cluster itself', TEXT),
  driver_opts: refused('secrets are kept by the cluster itself', OPTIONS),
};

const CONFIG_KEYS: KeyTable = { ...FILE_KEYS, content: honoured('Data', TEXT) };

const declared = (of: Shape): Key => section(dict(of, { names: NAMES }));

export const TOP_KEYS: KeyTable = {
  version: mapped('nothing: every version is read as the same format', TEXT),
  name: ignored('the stack is named on the command line', TEXT),
  include: honoured(
    'what the other files declare',
    list(
      either(
        TEXT,
        map(
          {
            path: honoured('which files', TEXT_OR_SET),
            env_file: honoured('variables of these files', TEXT_OR_SET),
            project_directory: honoured('where relative paths of these files start', TEXT),
          },
          { extensions: false },
        ),
      ),
    ),
  ),
  services: declared(map(SERVICE_KEYS)),
  networks: declared(nullable(map(NETWORK_KEYS))),
  volumes: declared(nullable(map(VOLUME_KEYS))),
  secrets: declared(map(SECRET_KEYS)),
  configs: declared(map(CONFIG_KEYS)),
  models: refused(
    'models cannot be run',
    dict(
      map(
        {
          name: section(TEXT),
          model: section(TEXT),
          context_size: section(INTEGER),
          runtime_flags: section(TEXT_LIST),
        },
        { required: ['model'] },
      ),
      { names: NAMES },
    ),
  ),
};

export const STACK_FILE: Shape = map(TOP_KEYS);

/** One service: what `extends` merges. */
export const SERVICE: Shape = map(SERVICE_KEYS);
