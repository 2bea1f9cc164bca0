import { describe, expect, test } from 'vitest';
import { describeError } from '../../../common/base/errors.ts';
import {
  expandContainer,
  expandedHostname,
  expandTemplate,
  templateContext,
} from '../../../common/model/container-template.ts';
import type { NodeId, ServiceId, TaskId } from '../../../common/model/ids.ts';
import type { Mount } from '../../../common/model/service.ts';
import {
  aContainerSpec,
  aNodeDescription,
  aTask,
  aTaskSpec,
  idOf,
} from '../../support/builders.ts';

const task = aTask({
  id: idOf<TaskId>('task'),
  slot: 3,
  nodeId: idOf<NodeId>('node'),
  serviceId: idOf<ServiceId>('service'),
  serviceAnnotations: { name: 'web', labels: { tier: 'front', 'com.example/x': 'y' } },
});
const node = aNodeDescription({ hostname: 'host-1' });
const context = templateContext(task, node);

describe('templates of a container', () => {
  test.each([
    ['{{.Service.Name}}', 'web'],
    ['{{.Service.ID}}', idOf('service')],
    ['{{.Service.Labels.tier}}', 'front'],
    ['{{index .Service.Labels "com.example/x"}}', 'y'],
    ['{{.Node.ID}}', idOf('node')],
    ['{{.Node.Hostname}}', 'host-1'],
    ['{{.Node.Platform.OS}}/{{.Node.Platform.Architecture}}', 'linux/x86_64'],
    ['{{.Task.ID}}', idOf('task')],
    ['{{.Task.Name}}', `web.3.${idOf('task')}`],
    ['{{.Service.Name}}-{{.Task.Slot}}', 'web-3'],
    ['{{join "-" .Service.Name .Task.Slot}}', 'web-3'],
    ['no template', 'no template'],
  ])('%s is %s', (text, expected) => expect(expandTemplate(text, context)).toBe(expected));

  test.each([
    ['{{.Service.Labels.none}}', "can't evaluate field none: there are tier, com.example/x"],
    ['{{.Task.Labels}}', "can't evaluate field Labels"],
    ['{{.Nothing}}', "can't evaluate field Nothing: there are Service, Node, Task"],
    ['{{env "X"}}', 'function "env" not defined'],
    ['{{.Task', 'unclosed action'],
  ])('%s is an error', (text, message) => {
    expect(() => expandTemplate(text, context)).toThrow(message);
  });

  test('the first slot of a job is 0, and a slot all the same', () => {
    const first = templateContext({ ...task, slot: 0 }, node);
    expect(expandTemplate('{{.Task.Slot}} {{.Task.Name}}', first)).toBe(`0 web.0.${idOf('task')}`);
  });

  test('without a slot the node stands in its place', () => {
    const everywhere = templateContext({ ...task, slot: null }, node);
    expect(expandTemplate('{{.Task.Slot}} {{.Task.Name}}', everywhere)).toBe(
      `${idOf('node')} web.${idOf('node')}.${idOf('task')}`,
    );
  });

  test('are expanded in host name, values of the environment and mounts, and nowhere else', () => {
    const mount: Mount = {
      type: 'volume',
      source: 'data-{{.Task.Slot}}',
      target: '/srv/{{.Service.Name}}',
      readOnly: false,
      bind: null,
      volume: {
        noCopy: false,
        labels: { slot: '{{.Task.Slot}}' },
        driver: '{{.Task.Slot}}',
        driverOptions: { device: '/dev/{{.Task.Slot}}' },
        subpath: '',
      },
      tmpfs: null,
    };
    const spec = aContainerSpec({
      hostname: '{{.Service.Name}}-{{.Task.Slot}}',
      env: ['SLOT={{.Task.Slot}}', '{{.Task.Slot}}', '{{.Task.Slot}}=x', 'PLAIN=a=b'],
      args: ['{{.Task.Slot}}'],
      labels: { slot: '{{.Task.Slot}}' },
      mounts: [mount],
    });
    expect(expandContainer(spec, context)).toEqual({
      ...spec,
      hostname: 'web-3',
      env: ['SLOT=3', '{{.Task.Slot}}', '{{.Task.Slot}}=x', 'PLAIN=a=b'],
      mounts: [
        {
          ...mount,
          source: 'data-3',
          target: '/srv/web',
          volume: { ...mount.volume, labels: { slot: '3' }, driverOptions: { device: '/dev/3' } },
        },
      ],
    });
  });

  test.each([
    [{ env: ['A={{.X}}'] }, 'expanding env "A={{.X}}" failed: '],
    [{ hostname: '{{.X}}' }, 'expanding hostname failed: '],
  ])('an error in %o says where, and why once', (spec, place) => {
    const reason = "template parsing error: can't evaluate field X: there are Service, Node, Task";
    let told = '';
    try {
      expandContainer(aContainerSpec(spec), context);
    } catch (err) {
      told = describeError(err);
    }
    expect(told).toBe(`${place}${reason}`);
  });

  test.each([
    ['plain', 'plain'],
    ['{{.Node.Hostname}}-x', 'host-1-x'],
    ['{{.Nothing}}', ''],
    ['{{$x := "aaaaaaaa"}}{{range 99}}{{$x = print $x $x}}{{end}}h', ''],
    [
      `{{range 8}}{{$.Node.Hostname}}{{end}}${'x'.repeat(16)}`,
      `${'host-1'.repeat(8)}${'x'.repeat(16)}`,
    ],
    [`{{range 8}}{{$.Node.Hostname}}{{end}}${'x'.repeat(17)}`, ''],
    ['{{range 900}}{{end}}h', 'h'],
    ['{{range 900}}{{range 900}}{{if 0}}x{{end}}{{end}}{{end}}h', ''],
  ])('the host name %s is %s to other nodes', (hostname, expected) => {
    const spec = aTaskSpec({ container: aContainerSpec({ hostname }) });
    expect(expandedHostname({ ...task, spec }, node)).toBe(expected);
  });
});
