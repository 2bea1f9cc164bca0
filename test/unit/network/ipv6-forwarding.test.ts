import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Ipv6Forwarding } from '../../../worker/network/ipv6-forwarding.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'skep-forwarding-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true });
});

test.each(['', '{"ipv6/conf/all/forw', 'null', '[7]'])(
  'a file of kept settings that is damaged (%j) keeps nobody from leaving',
  async (text) => {
    const file = join(dir, 'forward6');
    writeFileSync(file, text);
    await new Ipv6Forwarding(file).restore();
    expect(existsSync(file)).toBe(false);
  },
);
