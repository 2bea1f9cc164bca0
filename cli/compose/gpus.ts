/** `--gpus` and what stack files have for it, as requests for devices. */
import { SkepError } from '../../common/base/errors.ts';
import type { DeviceRequestJson } from '../../common/model/engine-json/container-spec.ts';
import { parseCsv } from './csv.ts';
import type { Item } from './item.ts';

const ALL = -1;

/** `all`, `2`, `"device=0,1"`, `driver=nvidia,count=1,"capabilities=compute,utility"`. Throws `invalid-argument`. */
export function parseGpus(text: string): DeviceRequestJson {
  const bad = (why: string): never => {
    throw new SkepError('invalid-argument', `--gpus ${text}: ${why}`);
  };
  const words = new Map<string, string>();
  for (const { key, value } of parseCsv(text)) {
    const [name, given] = value === null ? ['count', key] : [key, value];
    if (!['count', 'driver', 'device', 'capabilities'].includes(name)) {
      bad(`unexpected key '${name}'`);
    }
    if (words.has(name)) bad(`'${name}' can be specified only once`);
    words.set(name, given);
  }
  const ids = words.get('device')?.split(',') ?? [];
  const count = words.get('count');
  if (count !== undefined && count !== 'all' && !/^\d+$/.test(count)) {
    bad("a count is 'all' or a number");
  }
  return {
    Driver: words.get('driver') ?? '',
    Count: count === undefined ? (ids.length > 0 ? 0 : 1) : count === 'all' ? ALL : Number(count),
    DeviceIDs: ids.length > 0 ? ids : null,
    Capabilities: [[...new Set([...(words.get('capabilities')?.split(',') ?? []), 'gpu'])]],
  };
}

/** `gpus` and `deploy.resources.reservations.devices`: `all`, or maps. Without a count, all. */
export function deviceRequests(item: Item | undefined): DeviceRequestJson[] {
  if (item === undefined) return [];
  if (!item.isList) return [{ Driver: '', Count: ALL, DeviceIDs: null, Capabilities: [['gpu']] }];
  return item.items().map((each) => {
    const fields = each.fields();
    const ids = fields.get('device_ids')?.texts() ?? [];
    const count = fields.get('count');
    const counted = count === undefined || count.text() === 'all' ? ALL : (count.integer(0) ?? 0);
    return {
      Driver: fields.get('driver')?.text() ?? '',
      Count: ids.length > 0 && count === undefined ? 0 : counted,
      DeviceIDs: ids.length > 0 ? ids : null,
      Capabilities: [fields.get('capabilities')?.texts() ?? ['gpu']],
    };
  });
}
