import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { loadStack, loadStackModel } from '../../../../cli/compose/load-stack.ts';
import { StackFileError } from '../../../../cli/compose/problems.ts';
import type { StackRequest } from '../../../../cli/compose/stack.ts';
import { plain } from '../../../../cli/compose/tree.ts';
import { stackRequestOf } from '../../../support/stack-files.ts';

const request = (
  files: Readonly<Record<string, string>>,
  named: readonly string[],
  change: Partial<StackRequest> = {},
) => stackRequestOf({ files, named }, change);

/** The merged model of files a.yml, b.yml, ... as plain data. */
function modelOf(...texts: string[]): unknown {
  const files = Object.fromEntries(
    texts.map((text, index) => [`${'abc'[index]}.yml`, text] as const),
  );
  return plain(loadStackModel(request(files, Object.keys(files))).model);
}

/** Service `web`, whose body is `keys`. */
const web = (keys: string): string =>
  `services:\n  web:\n    image: web:1\n${keys.replace(/^/gm, '    ')}\n`;

function mergedWeb(before: string, after: string): unknown {
  const model = modelOf(web(before), web(after)) as { services: { web: Record<string, unknown> } };
  const { image, ...rest } = model.services.web;
  expect(image).toBe('web:1');
  return rest;
}

function problemsOf(
  files: Readonly<Record<string, string>>,
  named: readonly string[],
  change: Partial<StackRequest> = {},
): string[] {
  try {
    loadStack(request(files, named, change));
  } catch (err) {
    if (!(err instanceof StackFileError)) throw err;
    return err.problems.map(
      ({ source, line, column, message }) => `${source.path}:${line}:${column} ${message}`,
    );
  }
  throw new Error('the files were accepted');
}

describe('several files', () => {
  test.each([
    ['a text', 'hostname: a', 'hostname: b', 'hostname: b'],
    ['a command', 'command: [a, b]', 'command: c', 'command: c'],
    ['an entrypoint', 'entrypoint: [a]', 'entrypoint: [b]', 'entrypoint: [b]'],
    [
      'a health check',
      'healthcheck: {test: [CMD, a], interval: 5s}',
      'healthcheck: {test: [CMD, b]}',
      'healthcheck: {test: [CMD, b], interval: 5s}',
    ],
    ['a list', 'dns: [1.1.1.1]', 'dns: [9.9.9.9, 1.1.1.1]', 'dns: [1.1.1.1, 9.9.9.9]'],
    ['a text and a list', 'dns: 1.1.1.1', 'dns: [9.9.9.9]', 'dns: [1.1.1.1, 9.9.9.9]'],
    [
      'environments of both forms',
      'environment: [A=1, B=2]',
      'environment: {B: 3, C: }',
      'environment: {A: "1", B: 3, C: null}',
    ],
    ['labels', 'labels: {a: b}', 'labels: ["c=d"]', 'labels: {a: b, c: d}'],
    [
      'ports, one by one',
      'ports: ["80:80", "81:81"]',
      'ports: ["80:80", {published: 81, target: 81, mode: host}]',
      'ports: ["80:80", {published: 81, target: 81, mode: host}]',
    ],
    [
      'ports of a range, one of them',
      'ports: ["8080-8081:80-81", 9000]',
      'ports: ["8080:99", 9000]',
      'ports: ["8080:99", 8081:81/tcp, 9000]',
    ],
    [
      'volumes, by their target',
      'volumes: ["/a:/x", "/b:/y"]',
      'volumes: ["/c:/x:ro"]',
      'volumes: ["/c:/x:ro", "/b:/y"]',
    ],
    [
      'secrets, by their target',
      'secrets: [key, {source: a, target: b}]',
      'secrets: [{source: c, target: b}, other]',
      'secrets: [key, {source: c, target: b}, other]',
    ],
    [
      'networks of both forms',
      'networks: [a, b]',
      'networks: {b: {aliases: [x]}}',
      'networks: {a: null, b: {aliases: [x]}}',
    ],
    [
      'what services depend on',
      'depends_on: [a]',
      'depends_on: {b: {condition: service_healthy}}',
      'depends_on: {a: {condition: service_started}, b: {condition: service_healthy}}',
    ],
    [
      'hosts of both forms',
      'extra_hosts: {a: 1.1.1.1}',
      'extra_hosts: ["b=2.2.2.2"]',
      'extra_hosts: ["a=1.1.1.1", "b=2.2.2.2"]',
    ],
    [
      'a limit of both forms',
      'ulimits: {nofile: {soft: 1, hard: 2}}',
      'ulimits: {nofile: 5}',
      'ulimits: {nofile: 5}',
    ],
    [
      'a log of another driver',
      'logging: {driver: a, options: {x: y}}',
      'logging: {driver: b, options: {z: z}}',
      'logging: {driver: b, options: {z: z}}',
    ],
    [
      'a log of the same driver',
      'logging: {driver: a, options: {x: y}}',
      'logging: {options: {z: z}}',
      'logging: {driver: a, options: {x: y, z: z}}',
    ],
    [
      'deep values',
      'deploy: {replicas: 2, resources: {limits: {memory: 64M}}}',
      'deploy: {replicas: 0, resources: {limits: {cpus: 1}}}',
      'deploy: {replicas: 0, resources: {limits: {memory: 64M, cpus: 1}}}',
    ],
    ['!reset of a key', 'ports: ["80:80"]\nuser: a', 'ports: !reset []', 'user: a'],
    [
      '!reset of one value',
      'environment: {A: 1, B: 2}',
      'environment: {A: !reset null}',
      'environment: {B: 2}',
    ],
    ['!override', 'ports: ["80:80"]', 'ports: !override ["81:81"]', 'ports: ["81:81"]'],
    [
      '!override deep down',
      'deploy: {labels: {a: b}, replicas: 2}',
      'deploy: {labels: !override {c: d}}',
      'deploy: {labels: {c: d}, replicas: 2}',
    ],
  ])('%s', (_, before, after, expected) => {
    expect(mergedWeb(before, after)).toEqual(parse(expected));
  });

  test('sections grow, and a third file goes over both', () => {
    expect(
      modelOf(
        'services: {a: {image: a}}\nnetworks: {n: {internal: true}}\n',
        'services: {b: {image: b}}\nnetworks: {n: {attachable: true}}\n',
        'services: {b: {image: c}}\n',
      ),
    ).toEqual({
      services: { a: { image: 'a' }, b: { image: 'c' } },
      networks: { n: { internal: true, attachable: true } },
    });
  });

  test('a mark of the first file is taken at its word as well', () => {
    expect(modelOf(web('ports: !reset ["80:80"]\nlabels: !override {a: b}'))).toEqual({
      services: { web: { image: 'web:1', labels: { a: 'b' } } },
    });
  });

  test('paths start at the first file, wherever the others lie', () => {
    const files = {
      'app/a.yml': web('volumes: ["./x:/x"]'),
      'over/b.yml': web('volumes: ["./y:/y"]\nenv_file: v.env'),
      'app/v.env': 'A=1\n',
    };
    const { stack } = loadStack(request(files, ['app/a.yml', 'over/b.yml']));
    const { Mounts, Env } = stack.services[0]!.spec.TaskTemplate.ContainerSpec;
    expect(Mounts!.map(({ Source }) => Source)).toEqual(['/src/app/x', '/src/app/y']);
    expect(Env).toEqual(['A=1']);
  });

  test('mistakes are told under the file that they stand in', () => {
    const files = { 'a.yml': web('usr: a'), 'b.yml': web('ports: ["80:x"]\nimag: b') };
    expect(problemsOf(files, ['a.yml', 'b.yml'])).toEqual([
      "a.yml:4:5 unknown key 'usr' in services.web; did you mean user?",
      'b.yml:4:13 services.web.ports.0: invalid port "80:x": expected [PUBLISHED:]TARGET[/PROTOCOL], such as 8080:80',
      "b.yml:5:5 unknown key 'imag' in services.web; did you mean image?",
    ]);
  });

  test('what a later file replaces or adds to is told', () => {
    const files = {
      'a.yml': web('user: a\nlabels: {x: y}'),
      'b.yml': web('user: b\nlabels: {z: z}'),
    };
    const { facts } = loadStack(request(files, ['a.yml', 'b.yml']));
    expect(
      facts
        .filter(({ kind }) => kind === 'replaced' || kind === 'merged')
        .map(({ kind, path, text }) => `${path} ${kind} ${text}`),
    ).toEqual([
      'services.web.image replaced by b.yml:3:5',
      'services.web.user replaced by b.yml:4:5',
      'services.web.labels merged with b.yml:5:5',
    ]);
  });
});

describe('extends', () => {
  test('a service of the same file, and of another one, through several steps', () => {
    const files = {
      'a.yml': `services:
  web: {extends: {file: lib/b.yml, service: mid}, environment: {A: own}}
  twin: {extends: web, command: [twin]}
`,
      'lib/b.yml': `services:
  mid: {extends: base, environment: {A: mid, B: mid}, volumes: ["./d:/d"]}
  base: {image: base, environment: {C: base}}
`,
    };
    const { stack } = loadStack(request(files, ['a.yml']));
    const containers = stack.services.map(({ spec }) => spec.TaskTemplate.ContainerSpec);
    for (const { Image, Env, Mounts } of containers) {
      expect(Image).toBe('base');
      expect(Env).toEqual(['A=own', 'B=mid', 'C=base']);
      expect(Mounts).toEqual([{ Type: 'bind', Source: '/src/lib/d', Target: '/d' }]);
    }
    expect(containers.map(({ Args }) => Args)).toEqual([['twin'], undefined]);
  });

  test('a service of an earlier file', () => {
    const files = {
      'a.yml': 'services: {base: {image: base, user: me}}\n',
      'b.yml': 'services: {web: {extends: base}}\n',
    };
    const { stack } = loadStack(request(files, ['a.yml', 'b.yml']));
    expect(stack.services.map(({ spec }) => spec.TaskTemplate.ContainerSpec.User)).toEqual([
      'me',
      'me',
    ]);
  });

  test.each([
    [
      'a ring',
      { 'a.yml': 'services:\n  a: {extends: b}\n  b: {extends: {service: a}}\n' },
      [
        'a.yml:2:16 services extend each other in a ring: b -> a -> b',
        'a.yml:3:26 services extend each other in a ring: a -> b -> a',
      ],
    ],
    [
      'a ring over two files',
      {
        'a.yml': 'services:\n  a: {extends: {file: b.yml, service: b}}\n',
        'b.yml': 'services:\n  b: {extends: {file: a.yml, service: a}}\n',
      },
      ['b.yml:2:39 services extend each other in a ring: a -> b -> a'],
    ],
    [
      'a service that is not there',
      { 'a.yml': 'services:\n  a: {image: a, extends: bas}\n  base: {image: b}\n' },
      ['a.yml:2:26 there is no service "bas" to extend; did you mean base?'],
    ],
    [
      'a file that is not there',
      { 'a.yml': 'services:\n  a: {image: a, extends: {file: no.yml, service: b}}\n' },
      ['a.yml:2:33 cannot read no.yml: no such file or directory'],
    ],
    [
      'a mistake in the other file',
      {
        'a.yml': 'services:\n  a: {extends: {file: lib/b.yml, service: b}}\n',
        'lib/b.yml': 'services:\n  b: {image: b, hostnam: x}\n',
      },
      ["lib/b.yml:2:17 unknown key 'hostnam' in services.b; did you mean hostname?"],
    ],
  ])('%s is told', (_, files, expected) => {
    expect(problemsOf(files, ['a.yml'])).toEqual(expect.arrayContaining(expected));
  });
});

describe('include', () => {
  test('brings what another file declares, with its own paths and variables', () => {
    const files = {
      'a.yml': 'include: [lib/b.yml]\nservices: {web: {image: "web:${TAG}", networks: [back]}}\n',
      'lib/b.yml':
        'services: {db: {image: "db:${DBTAG}-${TAG}", volumes: ["./d:/d"]}}\nnetworks: {back: {internal: true}}\n',
      'lib/.env': 'DBTAG=7\nTAG=lib\n',
    };
    const { stack } = loadStack(request(files, ['a.yml']));
    const [db, other] = stack.services.map(({ spec }) => spec.TaskTemplate.ContainerSpec);
    expect(db).toMatchObject({ Image: 'db:7-2', Mounts: [{ Source: '/src/lib/d' }] });
    expect(other!.Image).toBe('web:2');
    expect(stack.networks.map(({ Name }) => Name)).toEqual(['shop_back', 'shop_default']);
  });

  test('several paths of one entry are merged; the including files may go over them', () => {
    const files = {
      'a.yml': 'include:\n  - path: [b.yml, c.yml]\n',
      'b.yml': 'services: {db: {image: "db:1", user: b}}\n',
      'c.yml': 'services: {db: {user: c, hostname: c}}\n',
      'd.yml': 'services: {db: {hostname: d}}\n',
    };
    const { stack } = loadStack(request(files, ['a.yml', 'd.yml']));
    expect(stack.services[0]!.spec.TaskTemplate.ContainerSpec).toMatchObject({
      Image: 'db:1',
      User: 'c',
      Hostname: 'd',
    });
  });

  test('a file of variables that is there and cannot be read is a problem, one that is not there is none', () => {
    const files = {
      'a.yml': 'include: [sub/b.yml]\n',
      'sub/b.yml': 'services: {db: {image: db, env_file: [{path: v.env, required: false}]}}\n',
    };
    const refusing = (name: string, code: string) => {
      const plain = request(files, ['a.yml']);
      const readFile = (path: string): Uint8Array => {
        if (path !== `/src/${name}`) return plain.readFile(path);
        throw Object.assign(new Error(code), { code });
      };
      return { readFile };
    };
    for (const name of ['.env', 'sub/.env', 'sub/v.env']) {
      expect(() => loadStack(request(files, ['a.yml'], refusing(name, 'ENOENT')))).not.toThrow();
      expect(() => loadStack(request(files, ['a.yml'], refusing(name, 'EACCES')))).toThrow(
        `cannot read ${name}: permission denied`,
      );
    }
  });

  test('variables of an included file that cannot be read are told where it is named, with all other mistakes', () => {
    const files = {
      'a.yml': 'include: [sub/b.yml]\nservices: {web: {image: web, usr: me}}\n',
      'sub/b.yml': 'services: {db: {image: db}}\n',
    };
    const { readFile } = request(files, ['a.yml']);
    const refusing = (path: string): Uint8Array => {
      if (path !== '/src/sub/.env') return readFile(path);
      throw Object.assign(new Error('EISDIR'), { code: 'EISDIR' });
    };
    expect(problemsOf(files, ['a.yml'], { readFile: refusing })).toEqual([
      'a.yml:1:11 cannot read sub/.env: illegal operation on a directory',
      expect.stringMatching(/^a.yml:2:30 unknown key 'usr'/),
    ]);
  });

  test('env_file of an entry takes the place of .env; the command and the includer win', () => {
    const files = {
      'a.yml': 'include: [{path: b.yml, env_file: [v.env]}]\n',
      'b.yml': 'services: {db: {image: "db:${V}-${TAG}"}}\n',
      'v.env': 'V=v\nTAG=v\n',
    };
    expect(
      loadStack(request(files, ['a.yml'])).stack.services[0]!.spec.TaskTemplate.ContainerSpec.Image,
    ).toBe('db:v-2');
  });

  test.each([
    [
      'a name that both declare otherwise',
      {
        'a.yml': 'include: [b.yml]\nservices:\n  db: {image: a}\n',
        'b.yml': 'services:\n  db: {image: b}\n',
      },
      "a.yml:3:3 services.db stands in the included b.yml:2 as well: changes of what is included belong into a further file under include's path",
    ],
    [
      'a ring',
      {
        'a.yml': 'include: [b.yml]\nservices: {x: {image: x}}\n',
        'b.yml': 'include: [a.yml]\n',
      },
      'b.yml:1:11 files include each other in a ring: a.yml',
    ],
    [
      'a file that is not there',
      { 'a.yml': 'include: [no.yml]\nservices: {x: {image: x}}\n' },
      'a.yml:1:11 cannot read no.yml: no such file or directory',
    ],
  ])('%s is told', (_, files, expected) => {
    expect(problemsOf(files, ['a.yml'])).toContain(expected);
  });

  test('the same declaration in both is no mistake', () => {
    const files = {
      'a.yml': 'include: [b.yml]\nservices: {x: {image: x}}\nvolumes: {v: {name: n}}\n',
      'b.yml': 'volumes: {v: {name: n}}\n',
    };
    expect(() => loadStack(request(files, ['a.yml']))).not.toThrow();
  });
});

describe('profiles', () => {
  const files = {
    'a.yml': `services:
  always: {image: a}
  debug: {image: d, profiles: [debug, dev]}
  other: {image: o, profiles: [other]}
`,
  };
  const names = (change: Partial<StackRequest>) =>
    loadStack(request(files, ['a.yml'], change)).stack.services.map(({ key }) => key);

  test.each([
    [{}, ['always']],
    [{ profiles: ['dev'] }, ['always', 'debug']],
    [{ env: { COMPOSE_PROFILES: 'debug, other' } }, ['always', 'debug', 'other']],
    [{ profiles: ['*'] }, ['always', 'debug', 'other']],
  ])('%j', (change, expected) => expect(names(change)).toEqual(expected));

  test('what is left out is told, and cannot be depended on', () => {
    const { facts } = loadStack(request(files, ['a.yml']));
    expect(facts.find(({ path }) => path === 'services.debug')?.text).toBe(
      'nothing: none of its profiles is asked for (debug, dev)',
    );
    const text = `${files['a.yml']}  needs: {image: n, depends_on: [debug]}\n`;
    expect(problemsOf({ 'a.yml': text }, ['a.yml'])).toEqual([
      'a.yml:5:34 services.needs.depends_on.0: there is no service "debug" in this deployment',
    ]);
  });
});

describe('depends_on', () => {
  test('both forms are kept', () => {
    const { stack } = loadStack(
      request(
        {
          'a.yml': `services:
  a: {image: a, depends_on: [b]}
  b: {image: b, depends_on: {c: {condition: service_completed_successfully, restart: true}, d: {condition: service_healthy, required: false}}}
  c: {image: c}
`,
        },
        ['a.yml'],
      ),
    );
    expect(stack.services.map(({ dependsOn }) => dependsOn)).toEqual([
      [{ service: 'b', condition: 'service_started', required: true }],
      [
        {
          service: 'c',
          condition: 'service_completed_successfully',
          required: true,
        },
        { service: 'd', condition: 'service_healthy', required: false },
      ],
      [],
    ]);
  });

  test('a service that is not restarted with the other says so', () => {
    const files = (restart: string) => ({
      'a.yml': `services:
  a: {image: a, depends_on: {b: {condition: service_started, restart: ${restart}}}}
  b: {image: b}
`,
    });
    expect(loadStack(request(files('true'), ['a.yml'])).warnings).toEqual([
      expect.stringMatching(/services.a.depends_on.b.restart has no effect: what waits is not/),
    ]);
    expect(loadStack(request(files('false'), ['a.yml'])).warnings).toEqual([]);
  });

  test('a ring is told with its path, once', () => {
    const text = `services:
  a: {image: a, depends_on: [b]}
  b: {image: b, depends_on: [c]}
  c: {image: c, depends_on: [a]}
`;
    expect(problemsOf({ 'a.yml': text }, ['a.yml'])).toEqual([
      'a.yml:4:30 services.c.depends_on.0: services wait for each other in a ring: a -> b -> c -> a',
    ]);
  });
});

describe('variables of files', () => {
  const image = (files: Readonly<Record<string, string>>, change: Partial<StackRequest> = {}) =>
    loadStack(
      request(
        { 'a.yml': 'services: {a: {image: "${I:-none}:${T:-0}"}}\n', ...files },
        ['a.yml'],
        change,
      ),
    ).stack.services[0]!.spec.TaskTemplate.ContainerSpec.Image;

  test.each([
    ['.env of the directory', { '.env': 'I=file\nT=1\n' }, {}, 'file:1'],
    ['the environment over .env', { '.env': 'I=file\nT=1\n' }, { env: { T: '2' } }, 'file:2'],
    [
      '--env-file in its place, the later over the earlier',
      { '.env': 'I=no\n' },
      {
        envFiles: [
          { path: 'x', text: 'I=x\nT=1' },
          { path: 'y', text: 'T=${I}y' },
        ],
      },
      'x:xy',
    ],
  ])('%s', (_, files, change, expected) => {
    expect(image(files, change)).toBe(expected);
  });

  test('a variable that stands for nothing is told with its place', () => {
    const { warnings } = loadStack(
      request({ 'a.yml': 'services:\n  a: {image: "a$NONE", user: "${NONE-me}"}\n' }, ['a.yml']),
    );
    expect(warnings).toEqual(['a.yml:2:14: variable NONE is not set: it stands for nothing']);
  });

  test('texts made of variables may stand for numbers and booleans', () => {
    const { stack } = loadStack(
      request(
        {
          'a.yml':
            'services: {a: {image: a, read_only: "${R}", deploy: {replicas: "${N}"}, depends_on: {b: {condition: service_started, required: "${R}"}}}, b: {image: b}}\n',
        },
        ['a.yml'],
        { env: { R: 'true', N: '3' } },
      ),
    );
    expect(stack.services[0]!.spec.Mode).toEqual({ Replicated: { Replicas: 3 } });
    expect(stack.services[0]!.dependsOn[0]!.required).toBe(true);
  });
});
