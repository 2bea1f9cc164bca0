/** The networks that people made on this node, on local disk: one file each, replaced by rename. */
import { join } from 'node:path';
import type { Logger } from '../../common/base/log.ts';
import { NodeSmallFiles, type SmallFiles } from '../../common/base/small-files.ts';
import type { LocalNetwork } from './local-network.ts';

const SUFFIX = '.json';

export class LocalNetworkStore {
  readonly #dir: string;
  readonly #log: Logger;
  readonly #files: SmallFiles;

  constructor(dir: string, log: Logger, files: SmallFiles = new NodeSmallFiles()) {
    this.#dir = dir;
    this.#log = log;
    this.#files = files;
  }

  /** Every readable one, the oldest first; a damaged one is told and left where it is. */
  async load(): Promise<LocalNetwork[]> {
    const networks: LocalNetwork[] = [];
    for (const name of await this.#files.list(this.#dir)) {
      if (!name.endsWith(SUFFIX)) continue;
      const id = name.slice(0, -SUFFIX.length);
      try {
        const read = JSON.parse((await this.#files.read(this.#path(id))) ?? '') as LocalNetwork;
        if (read.id === id && read.spec.name && (read.ipam || read.spec.configOnly))
          networks.push(whole(read));
        else this.#log.error({ networkId: id }, 'record of network is damaged, it is left alone');
      } catch (err) {
        this.#log.error({ networkId: id, err }, 'record of network is damaged, it is left alone');
      }
    }
    return networks.sort((a, b) => a.createdAtMs - b.createdAtMs);
  }

  put(network: LocalNetwork): Promise<void> {
    return this.#files.replace(this.#path(network.id), JSON.stringify(network));
  }

  remove(id: string): Promise<void> {
    return this.#files.remove(this.#path(id));
  }

  #path(id: string): string {
    return join(this.#dir, id + SUFFIX);
  }
}

/** Records of former releases know nothing of config-only networks. */
function whole(network: LocalNetwork): LocalNetwork {
  return { ...network, spec: { ...{ configOnly: false, configFrom: '' }, ...network.spec } };
}
