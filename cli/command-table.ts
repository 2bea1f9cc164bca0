/**
 * Every command: its words, one line about it, and where its code is. Nothing is imported until a
 * command runs, so that help is fast. Knows no flags.
 */
import { type CommandEntry, type CommandGroup, pathOf } from './command-entry.ts';
import type { Configure } from './commands/context.ts';

const LS = { aliases: ['list'] } as const;
const RM = { aliases: ['remove'] } as const;

const entry = (
  summary: string,
  load: () => Promise<Configure>,
  extra: { readonly aliases?: readonly string[] } = {},
): CommandEntry => ({ summary, load, ...extra });

const swarm = () => import('./commands/swarm.ts');
const swarmCa = () => import('./commands/swarm-ca.ts');
const swarmLock = () => import('./commands/swarm-lock.ts');
const rebalance = () => import('./commands/rebalance.ts');
const node = () => import('./commands/node.ts');
const nodeDrain = () => import('./commands/node-drain.ts');
const nodeList = () => import('./commands/node-list.ts');
const service = () => import('./commands/service.ts');
const serviceExec = () => import('./commands/service-exec.ts');
const serviceUsage = () => import('./commands/service-usage.ts');
const verbs = () => import('./commands/verbs.ts');
const serviceExplain = () => import('./commands/service-explain.ts');
const serviceCreate = () => import('./commands/service-create.ts');
const serviceUpdate = () => import('./commands/service-update.ts');
const stack = () => import('./commands/stack.ts');
const stackDeploy = () => import('./commands/stack-deploy.ts');
const stackPull = () => import('./commands/stack-pull.ts');
const stackPlan = () => import('./commands/stack-plan.ts');
const stackEvents = () => import('./commands/stack-events.ts');
const stackHistory = () => import('./commands/stack-history.ts');
const stackLint = () => import('./commands/stack-lint.ts');
const network = () => import('./commands/network.ts');
const net = () => import('./commands/net.ts');
const secret = () => import('./commands/secret.ts');
const volume = () => import('./commands/volume.ts');
const image = () => import('./commands/image.ts');
const container = () => import('./commands/container.ts');
const imageMore = () => import('./commands/image-more.ts');
const systemPrune = () => import('./commands/system-prune.ts');
const imageSave = () => import('./commands/image-save.ts');
const systemDf = () => import('./commands/system-df.ts');
const login = () => import('./commands/login.ts');
const containerVerbs = () => import('./commands/container-verbs.ts');
const containerAttach = () => import('./commands/container-attach.ts');
const containerChange = () => import('./commands/container-change.ts');
const containerCopy = () => import('./commands/container-copy.ts');
const containerStats = () => import('./commands/container-stats.ts');
const run = () => import('./commands/run.ts');
const exec = () => import('./commands/exec.ts');
const doctor = () => import('./commands/doctor.ts');
const dialStdio = () => import('./commands/dial-stdio.ts');
const events = () => import('./commands/events.ts');
const completion = () => import('./commands/completion.ts');
const contextStore = () => import('./commands/context-store.ts');
const system = () => import('./commands/system.ts');
const logs = () => import('./commands/logs.ts');
const dev = () => import('./dev/commands.ts');
const devAgents = () => import('./dev/agents/command.ts');

export const GROUPS: Readonly<Record<string, CommandGroup>> = {
  swarm: {
    summary: 'Manage the cluster',
    commands: {
      ca: entry('Show or rotate the trust root', async () => (await swarmCa()).ca),
      init: entry('Start a cluster on this node', async () => (await swarm()).init),
      join: entry('Join a cluster as a node', async () => (await swarm()).join),
      'join-token': entry('Show or rotate join tokens', async () => (await swarm()).joinToken),
      leave: entry('Leave the cluster', async () => (await swarm()).leave),
      rebalance: entry(
        'Move tasks from full nodes to emptier ones',
        async () => (await rebalance()).rebalance,
      ),
      unlock: entry('Unlock the manager on this node', async () => (await swarmLock()).unlock),
      'unlock-key': entry(
        'Show or rotate the unlock key',
        async () => (await swarmLock()).unlockKey,
      ),
      update: entry('Change settings of the cluster', async () => (await swarm()).update),
    },
  },
  node: {
    summary: 'Manage the nodes of the cluster',
    commands: {
      demote: entry('Make managers workers', async () => (await node()).demote),
      drain: entry('Move all tasks off a node', async () => (await nodeDrain()).drain),
      inspect: entry('Show nodes in detail', async () => (await node()).inspect),
      ls: entry('List nodes', async () => (await nodeList()).ls, LS),
      promote: entry('Make workers managers', async () => (await node()).promote),
      ps: entry('List the tasks of nodes', async () => (await nodeList()).ps),
      rm: entry('Remove nodes from the cluster', async () => (await node()).rm, RM),
      update: entry('Change a node', async () => (await node()).update),
    },
  },
  service: {
    summary: 'Manage services',
    commands: {
      create: entry('Create a service', async () => (await serviceCreate()).create),
      exec: entry(
        'Run a command in tasks of a service, on any node',
        async () => (await serviceExec()).serviceExec,
      ),
      explain: entry(
        'Say why tasks wait, and what would help',
        async () => (await serviceExplain()).explain,
      ),
      inspect: entry('Show services in detail', async () => (await service()).inspect),
      logs: entry('Show the logs of a service or task', async () => (await logs()).serviceLogs),
      ls: entry('List services', async () => (await service()).ls, LS),
      ps: entry('List the tasks of services', async () => (await service()).ps),
      restart: entry('Replace the tasks of services', async () => (await verbs()).serviceRestart),
      rm: entry('Remove services', async () => (await service()).rm, RM),
      rollback: entry('Go back to the previous spec', async () => (await service()).rollback),
      scale: entry('Set the number of replicas', async () => (await service()).scale),
      start: entry('Start stopped services', async () => (await verbs()).serviceStart),
      stats: entry(
        'Show what the tasks of services use, on any node',
        async () => (await serviceUsage()).serviceStats,
      ),
      stop: entry(
        'End the tasks of services, and keep them',
        async () => (await verbs()).serviceStop,
      ),
      top: entry(
        'List the processes of a service, on any node',
        async () => (await serviceUsage()).serviceTop,
      ),
      update: entry('Change a service', async () => (await serviceUpdate()).update),
    },
  },
  stack: {
    summary: 'Manage stacks: services deployed from a file',
    commands: {
      config: entry('Print a stack file, merged', async () => (await stackLint()).config),
      deploy: entry('Deploy a stack file', async () => (await stackDeploy()).deploy, {
        aliases: ['up'],
      }),
      diff: entry('Say what a deployment would change', async () => (await stackPlan()).diff),
      events: entry(
        'Show what happens in a stack, on all nodes',
        async () => (await stackEvents()).events,
      ),
      exec: entry(
        'Run a command in tasks of a stack, on any node',
        async () => (await serviceExec()).stackExec,
      ),
      history: entry('List the last deployments', async () => (await stackHistory()).history),
      lint: entry('Say what becomes of each key', async () => (await stackLint()).lint),
      logs: entry('Show the logs of a stack', async () => (await logs()).stackLogs),
      ls: entry('List stacks', async () => (await stack()).ls, LS),
      ps: entry('List the tasks of a stack', async () => (await stack()).ps),
      pull: entry(
        'Bring the images of a stack to every node',
        async () => (await stackPull()).stackPull,
      ),
      rollback: entry(
        'Go back to an earlier deployment',
        async () => (await stackHistory()).rollback,
      ),
      rm: entry('Remove stacks', async () => (await stack()).rm, { aliases: ['remove', 'down'] }),
      restart: entry('Replace the tasks of a stack', async () => (await verbs()).stackRestart),
      services: entry('List the services of a stack', async () => (await stack()).services),
      start: entry('Start a stopped stack', async () => (await verbs()).stackStart),
      stats: entry(
        'Show what the tasks of a stack use, on any node',
        async () => (await serviceUsage()).stackStats,
      ),
      stop: entry('End the tasks of a stack, and keep it', async () => (await verbs()).stackStop),
      top: entry(
        'List the processes of a stack, on any node',
        async () => (await serviceUsage()).stackTop,
      ),
    },
  },
  network: {
    summary: 'Manage networks',
    commands: {
      connect: entry(
        'Give a container a place in a network',
        async () => (await network()).connect,
      ),
      create: entry('Create a network', async () => (await network()).create),
      disconnect: entry(
        'Take a container out of a network',
        async () => (await network()).disconnect,
      ),
      inspect: entry('Show networks in detail', async () => (await network()).inspect),
      ls: entry('List networks', async () => (await network()).ls, LS),
      prune: entry('Remove unused networks', async () => (await network()).prune),
      rm: entry('Remove networks', async () => (await network()).rm, RM),
    },
  },
  net: {
    summary: 'Look into what networks are made of',
    commands: {
      trace: entry('Show which way a connection takes', async () => (await net()).trace),
      verify: entry(
        'Compare the network of every node with what it ought to be',
        async () => (await net()).verify,
      ),
    },
  },
  secret: {
    summary: 'Manage secrets',
    commands: {
      create: entry('Create a secret', async () => (await secret()).secretCreate),
      inspect: entry('Show secrets in detail', async () => (await secret()).secretInspect),
      ls: entry('List secrets', async () => (await secret()).secretLs, LS),
      rm: entry('Remove secrets', async () => (await secret()).secretRm, RM),
    },
  },
  config: {
    summary: 'Manage configs',
    commands: {
      create: entry('Create a config', async () => (await secret()).configCreate),
      inspect: entry('Show configs in detail', async () => (await secret()).configInspect),
      ls: entry('List configs', async () => (await secret()).configLs, LS),
      rm: entry('Remove configs', async () => (await secret()).configRm, RM),
    },
  },
  volume: {
    summary: 'Manage volumes of a host',
    commands: {
      create: entry('Create a volume', async () => (await volume()).create),
      export: entry('Write a volume as a tar', async () => (await volume()).exportVolume),
      import: entry('Fill a volume from a tar', async () => (await volume()).importVolume),
      inspect: entry('Show volumes in detail', async () => (await volume()).inspect),
      ls: entry('List volumes', async () => (await volume()).ls, LS),
      prune: entry('Remove unused volumes', async () => (await systemPrune()).volumePrune),
      rm: entry('Remove volumes', async () => (await volume()).rm, RM),
    },
  },
  image: {
    summary: 'Manage images of a host',
    commands: {
      history: entry('Show how an image was made', async () => (await imageMore()).history),
      import: entry(
        'Make an image from a tar of a file system',
        async () => (await imageMore()).importImage,
      ),
      inspect: entry('Show images in detail', async () => (await image()).inspect),
      load: entry('Load an image archive', async () => (await image()).load),
      ls: entry('List images', async () => (await image()).ls, LS),
      prune: entry('Remove unused images', async () => (await imageMore()).prune),
      pull: entry('Pull an image from a registry', async () => (await image()).pull),
      push: entry('Push an image to its registry', async () => (await image()).push),
      rm: entry('Remove images', async () => (await image()).rm, RM),
      save: entry('Write images to an archive', async () => (await imageSave()).save),
      verify: entry('Check all that is stored of images', async () => (await imageMore()).verify),
      tag: entry('Give an image another name', async () => (await image()).tag),
    },
  },
  container: {
    summary: 'Containers of a host, of services and outside of them',
    commands: {
      attach: entry('Stay with a running container', async () => (await containerAttach()).attach),
      commit: entry(
        'Make an image of what a container changed',
        async () => (await containerChange()).commit,
      ),
      cp: entry('Copy files in or out', async () => (await containerCopy()).cp),
      create: entry('Make a container', async () => (await run()).create),
      diff: entry('List what differs from the image', async () => (await containerCopy()).diff),
      export: entry(
        'Write the file system as a tar',
        async () => (await containerCopy()).exportContainer,
      ),
      port: entry('Show where ports are published', async () => (await containerChange()).port),
      stats: entry('Show what containers use', async () => (await containerStats()).stats),
      top: entry('List the processes of a container', async () => (await containerStats()).top),
      update: entry('Change limits and policies', async () => (await containerChange()).update),
      run: entry('Make and start a container', async () => (await run()).run),
      start: entry('Start containers', async () => (await containerAttach()).start),
      stop: entry('Stop containers', async () => (await containerVerbs()).stop),
      restart: entry('Restart containers', async () => (await containerVerbs()).restart),
      kill: entry('Send a signal to containers', async () => (await containerVerbs()).kill),
      pause: entry('Freeze containers', async () => (await containerVerbs()).pause),
      unpause: entry('Let frozen containers go on', async () => (await containerVerbs()).unpause),
      wait: entry('Wait for the end of containers', async () => (await containerVerbs()).wait),
      rename: entry('Give a container another name', async () => (await containerVerbs()).rename),
      rm: entry('Remove containers', async () => (await containerVerbs()).rm, RM),
      prune: entry('Remove containers at rest', async () => (await containerVerbs()).prune),
      exec: entry('Run a command in a container', async () => (await exec()).exec),
      inspect: entry('Show containers in detail', async () => (await container()).inspect),
      logs: entry('Show the logs of a container', async () => (await logs()).containerLogs),
      ls: entry('List containers', async () => (await container()).ps, {
        aliases: ['list', 'ps'],
      }),
    },
  },
  system: {
    summary: 'See the daemon',
    commands: {
      'dial-stdio': entry(
        'Connect standard input and output to the daemon',
        async () => (await dialStdio()).dialStdio,
      ),
      df: entry('Show what takes the disk', async () => (await systemDf()).df),
      events: entry('Show what happens, as it comes', async () => (await events()).events),
      prune: entry('Remove what nobody uses', async () => (await systemPrune()).systemPrune),
      info: entry('Show what the daemon says of itself', async () => (await system()).info),
    },
  },
  context: {
    summary: 'Names for the daemons of several clusters',
    commands: {
      create: entry('Create a context', async () => (await contextStore()).create),
      export: entry('Write a context to a file', async () => (await contextStore()).exportContext),
      import: entry('Read a context from a file', async () => (await contextStore()).importContext),
      inspect: entry('Show contexts in detail', async () => (await contextStore()).inspect),
      ls: entry('List contexts', async () => (await contextStore()).ls, LS),
      rm: entry('Remove contexts', async () => (await contextStore()).rm, RM),
      show: entry('Print the name of the one in force', async () => (await contextStore()).show),
      update: entry('Change a context', async () => (await contextStore()).update),
      use: entry('Choose the context to use', async () => (await contextStore()).use),
    },
  },
  dev: {
    summary: 'A whole cluster on this machine, for trying and for tests',
    commands: {
      up: entry('Start a cluster', async () => (await dev()).up),
      down: entry('End a cluster and remove all that it made', async () => (await dev()).down),
      status: entry('Show the hosts of a cluster', async () => (await dev()).status),
      load: entry('Load an image archive on every host', async () => (await dev()).load),
      kill: entry('Kill the daemon of a host', async () => (await dev()).kill),
      start: entry('Start the daemon of a host again', async () => (await dev()).start),
      cut: entry('Take the link of a host down', async () => (await dev()).cut),
      heal: entry('Bring the link of a host up again', async () => (await dev()).heal),
      run: entry('Run a command in the network of a host', async () => (await dev()).run),
      agents: entry(
        'Join fake nodes to a cluster, to size its managers',
        async () => (await devAgents()).agents,
      ),
    },
  },
};

export const COMMANDS: Readonly<Record<string, CommandEntry>> = {
  attach: GROUPS['container']!.commands['attach']!,
  commit: GROUPS['container']!.commands['commit']!,
  completion: entry(
    'Print the completion script of a shell',
    async () => (await completion()).completion,
  ),
  cp: GROUPS['container']!.commands['cp']!,
  create: GROUPS['container']!.commands['create']!,
  diff: GROUPS['container']!.commands['diff']!,
  doctor: entry(
    'Check this host and its cluster, and say what to do',
    async () => (await doctor()).doctor,
  ),
  events: GROUPS['system']!.commands['events']!,
  exec: GROUPS['container']!.commands['exec']!,
  export: GROUPS['container']!.commands['export']!,
  history: GROUPS['image']!.commands['history']!,
  images: GROUPS['image']!.commands['ls']!,
  import: GROUPS['image']!.commands['import']!,
  info: GROUPS['system']!.commands['info']!,
  inspect: entry('Show any object in detail', async () => (await system()).inspect),
  kill: GROUPS['container']!.commands['kill']!,
  load: GROUPS['image']!.commands['load']!,
  login: entry('Log in to a registry', async () => (await login()).login),
  logout: entry('Log out from a registry', async () => (await login()).logout),
  logs: GROUPS['container']!.commands['logs']!,
  pause: GROUPS['container']!.commands['pause']!,
  port: GROUPS['container']!.commands['port']!,
  ps: GROUPS['container']!.commands['ls']!,
  pull: GROUPS['image']!.commands['pull']!,
  push: GROUPS['image']!.commands['push']!,
  rename: GROUPS['container']!.commands['rename']!,
  restart: GROUPS['container']!.commands['restart']!,
  rmi: GROUPS['image']!.commands['rm']!,
  tag: GROUPS['image']!.commands['tag']!,
  rm: GROUPS['container']!.commands['rm']!,
  run: GROUPS['container']!.commands['run']!,
  save: GROUPS['image']!.commands['save']!,
  start: GROUPS['container']!.commands['start']!,
  stats: GROUPS['container']!.commands['stats']!,
  stop: GROUPS['container']!.commands['stop']!,
  top: GROUPS['container']!.commands['top']!,
  unpause: GROUPS['container']!.commands['unpause']!,
  update: GROUPS['container']!.commands['update']!,
  version: entry('Show the versions of command and daemon', async () => (await system()).version),
  wait: GROUPS['container']!.commands['wait']!,
};

/** Commands of docker that there are not, by their words, and why. */
export const ABSENT: Readonly<Record<string, string>> = {
  build: 'images are built elsewhere, and pushed to a registry or loaded (skep load)',
  builder: 'images are built elsewhere',
  buildx: 'images are built elsewhere',
  checkpoint: 'checkpoints are not supported',
  compose: 'stack files are deployed to the cluster: skep stack deploy',
  'image build': 'images are built elsewhere, and pushed to a registry or loaded (skep load)',
  manifest: 'images are pushed with all of their platforms',
  plugin: 'plugins are not supported',
  search: 'registries are not searched',
  trust: 'signatures are not supported',
  'volume update': 'it is for cluster volumes, which are not supported',
};

/** Asked by the shells' scripts, with the words so far. */
export const COMPLETE = '__complete';
const HIDDEN: Readonly<Record<string, CommandEntry>> = {
  [COMPLETE]: entry('Complete a command line', async () => {
    const { complete } = await import('./completion.ts');
    return complete({ groups: GROUPS, commands: COMMANDS });
  }),
};

export interface FoundCommand {
  /** as it was called, e.g. `skep service ls`, `skep ps` */
  readonly words: string;
  /** under which it stands in its group, where it has one: `service ls`, `container ls` */
  readonly path: string;
  readonly entry: CommandEntry;
  /** what follows the command's words */
  readonly rest: readonly string[];
}

/** The entry that `args` begin with; the group alone, or null for no such command. */
export function findCommand(
  args: readonly string[],
): FoundCommand | { readonly group: string; readonly unknown: string | null } | null {
  const [first = '', second] = args;
  const table = Object.hasOwn(HIDDEN, first) ? HIDDEN : COMMANDS;
  const single = table[first];
  if (single && Object.hasOwn(table, first)) {
    const path = pathOf(GROUPS, single) ?? first;
    return { words: `skep ${first}`, path, entry: single, rest: args.slice(1) };
  }
  if (!Object.hasOwn(GROUPS, first)) return null;
  const group = GROUPS[first]!;
  if (second === undefined || second.startsWith('-')) return { group: first, unknown: null };
  for (const [name, candidate] of Object.entries(group.commands)) {
    if (name !== second && !candidate.aliases?.includes(second)) continue;
    const path = `${first} ${name}`;
    return { words: `skep ${path}`, path, entry: candidate, rest: args.slice(2) };
  }
  return { group: first, unknown: second };
}
