import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { NodeDevices } from '../../../worker/node-devices.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { temporaryFolders } from '../../support/temporary-folder.ts';

const makeFolder = temporaryFolders();

test('devices are told by name, without what every machine has', async () => {
  const folder = await makeFolder();
  for (const name of ['snd', 'pts', 'bus/usb/001', 'cpu/0']) {
    mkdirSync(join(folder, name), { recursive: true });
  }
  // Only root makes devices; a link stands for one as well.
  const links = ['ttyUSB0', 'tty7', 'null', 'loop0', 'snd/timer', 'pts/0', 'cpu/0/msr'];
  links.push('bus/usb/001/002');
  for (const name of links) symlinkSync('/dev/null', join(folder, name));
  writeFileSync(join(folder, 'a-file'), '');
  const clock = new FakeClock();
  const devices = new NodeDevices(clock, folder);
  const all = ['bus/usb/001/002', 'snd/timer', 'ttyUSB0'];
  expect(devices.names).toEqual(all);
  symlinkSync('/dev/null', join(folder, 'kvm'));
  expect(devices.names).toEqual(all);
  await clock.advance(10_000);
  expect(devices.names).toEqual(['bus/usb/001/002', 'kvm', 'snd/timer', 'ttyUSB0']);
});

test('a machine without such a folder, or with too many, says nothing', async () => {
  expect(new NodeDevices(new FakeClock(), '/nowhere').names).toEqual([]);
  const folder = await makeFolder();
  for (let at = 0; at <= 500; at++) symlinkSync('/dev/null', join(folder, `disk${at}`));
  expect(new NodeDevices(new FakeClock(), folder).names).toEqual([]);
});
