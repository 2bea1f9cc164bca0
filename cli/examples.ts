/** Examples of every command, as `--help` shows them below its flags. */

/**
 * By the words of a command behind `skep`, those of its group where it has one: what an example does, and its line.
 * Data alone: it is loaded for help and for nothing else.
 */
const EXAMPLES: Readonly<Record<string, readonly (readonly [does: string, line: string])[]>> = {
  'swarm ca': [
    ['The certificate that every node trusts', 'skep swarm ca > ca.pem'],
    ['Another root for the whole cluster, without an outage', 'skep swarm ca --rotate'],
  ],
  'swarm init': [
    ['A cluster of this node alone, to begin with', 'skep swarm init'],
    ['On a host with several addresses', 'skep swarm init --advertise-addr 10.0.0.1'],
    ['Managers need a key after each restart', 'skep swarm init --autolock'],
  ],
  'swarm join': [
    ['As "skep swarm join-token worker" says it', 'skep swarm join --token TOKEN 10.0.0.1:2377'],
  ],
  'swarm join-token': [
    ['What to type on a host that is to be a worker', 'skep swarm join-token worker'],
    ['The token alone, for scripts', 'skep swarm join-token -q manager'],
    ['The token of workers is known to others', 'skep swarm join-token --rotate worker'],
  ],
  'swarm leave': [
    ['A worker', 'skep swarm leave'],
    ['The last manager: the cluster ends', 'skep swarm leave --force'],
  ],
  'swarm rebalance': [
    ['What would move', 'skep swarm rebalance --plan'],
    ['Five moves at most, and wait for them', 'skep swarm rebalance --apply --budget 5'],
  ],
  'swarm unlock': [['After a restart of a locked manager; asks for the key', 'skep swarm unlock']],
  'swarm unlock-key': [
    ['Keep what it prints in a safe place', 'skep swarm unlock-key'],
    ['Another key', 'skep swarm unlock-key --rotate'],
  ],
  'swarm update': [
    ['Certificates of nodes for 30 days', 'skep swarm update --cert-expiry 720h'],
    ['Two old tasks of each slot', 'skep swarm update --task-history-limit 2'],
  ],
  'node demote': [['A manager becomes a worker', 'skep node demote node-3']],
  'node drain': [
    ['No new tasks, and those that run end', 'skep node drain node-2'],
    ['One after the other, each when another runs in its place', 'skep node drain --wait node-2'],
    ['It is to have tasks again', 'skep node update --availability active node-2'],
  ],
  'node inspect': [
    ['For people', 'skep node inspect --pretty self'],
    ['One field', "skep node inspect -f '{{.Status.Addr}}' node-2"],
  ],
  'node ls': [
    ['All nodes', 'skep node ls'],
    ['Names of the workers', "skep node ls -f role=worker --format '{{.Hostname}}'"],
  ],
  'node promote': [['A worker becomes a manager', 'skep node promote node-2']],
  'node ps': [
    ['What runs on this node', 'skep node ps -f desired-state=running'],
    ['What ran and runs on two others', 'skep node ps node-2 node-3'],
  ],
  'node rm': [
    ['One that has left', 'skep node rm node-3'],
    ['One that is gone for good', 'skep node rm --force node-3'],
  ],
  'node update': [
    ['A label for constraints', 'skep node update --label-add zone=east node-2'],
    ['No new tasks; those that run stay', 'skep node update --availability pause node-2'],
  ],
  'service create': [
    [
      'Three replicas, on port 80 of every node',
      'skep service create --name web --replicas 3 --publish 80:80 nginx',
    ],
    ['One on every node', 'skep service create --name agent --mode global example.com/agent:1'],
    [
      'With a password, a volume and a limit',
      'skep service create --name db --secret db-password --mount source=data,target=/var/lib/mysql --limit-memory 1g mysql:8',
    ],
    [
      'A job: ten runs, two at once',
      'skep service create --name mails --mode replicated-job --replicas 10 --max-concurrent 2 example.com/mails:1',
    ],
  ],
  'service exec': [
    ['A shell in one of its tasks', 'skep service exec -it web -- sh'],
    ['In slot 2', 'skep service exec web.2 -- ls /tmp'],
    ['In all, each line with its name', 'skep service exec --all web -- cat /etc/hostname'],
  ],
  'service explain': [['Why it has fewer tasks than it wants', 'skep service explain web']],
  'service inspect': [
    ['For people', 'skep service inspect --pretty web'],
    ['One field', "skep service inspect -f '{{json .Spec.Labels}}' web"],
  ],
  'service logs': [
    ['The last 20 lines, and what comes', 'skep service logs -f -n 20 web'],
    ['Of the last ten minutes, with times', 'skep service logs -t --since 10m web'],
  ],
  'service ls': [
    ['All services', 'skep service ls'],
    [
      'Names and replicas of some',
      "skep service ls -f label=tier=front --format '{{.Name}}: {{.Replicas}}'",
    ],
  ],
  'service ps': [
    ['Tasks of now and before', 'skep service ps web'],
    ['What went wrong, unabridged', 'skep service ps --no-trunc -f desired-state=shutdown web'],
  ],
  'service restart': [['Other tasks, at the pace of its updates', 'skep service restart web']],
  'service rm': [
    ['And wait until their tasks are gone', 'skep service rm web db'],
    ['Without waiting', 'skep service rm --detach web'],
  ],
  'service rollback': [['What it was before the last update', 'skep service rollback web']],
  'service scale': [
    ['Five replicas', 'skep service scale web=5'],
    ['Two services, without waiting', 'skep service scale --detach web=5 worker=10'],
  ],
  'service start': [['With as many tasks as before', 'skep service start web']],
  'service stats': [
    ['Until Ctrl-C', 'skep service stats web'],
    [
      'Once, of one task',
      "skep service stats --no-stream --format '{{.Name}} {{.MemUsage}}' web.1",
    ],
  ],
  'service stop': [['No task runs, all else stays', 'skep service stop web']],
  'service top': [
    ['Processes of all its tasks', 'skep service top web'],
    ['With columns of ps', 'skep service top web -eo pid,rss,args'],
  ],
  'service update': [
    [
      'Another image, two tasks at a time',
      'skep service update --image nginx:1.27 --update-parallelism 2 web',
    ],
    [
      'A variable and a port more',
      'skep service update --env-add DEBUG=1 --publish-add 8080:80 web',
    ],
    [
      'New tasks start before the old ones stop',
      'skep service update --update-order start-first --force web',
    ],
  ],
  'stack config': [
    ['The file with all variables filled in', 'skep stack config -c stack.yml'],
    [
      'Two files as one, and where each value comes from',
      'skep stack config --origins -c stack.yml -c production.yml',
    ],
  ],
  'stack deploy': [
    ['Deploy, and wait until all of it runs', 'skep stack deploy -c stack.yml shop'],
    ['What it would change', 'skep stack deploy -c stack.yml --plan shop'],
    [
      'Only this plan, and without services that left the file',
      'skep stack deploy -c stack.yml --prune --plan-hash HASH shop',
    ],
    ['From another program', 'generate | skep stack deploy -c - shop'],
  ],
  'stack diff': [
    [
      'What a deployment would change, and where tasks would land',
      'skep stack diff -c stack.yml shop',
    ],
    [
      'In a script: status 1 when there is something to do',
      'skep stack diff --exit-code -c stack.yml shop',
    ],
  ],
  'stack events': [['Until Ctrl-C', 'skep stack events shop']],
  'stack exec': [
    ['A shell in the database', 'skep stack exec -it shop db -- sh'],
    ['In all tasks of a service', 'skep stack exec --all shop web -- cat /etc/hostname'],
  ],
  'stack history': [
    ['The last ten deployments', 'skep stack history shop'],
    ['Who made them', "skep stack history --format '{{.Deployment}} {{.By}}' shop"],
  ],
  'stack lint': [
    ['What becomes of each key', 'skep stack lint stack.yml'],
    ['For programs', 'skep stack lint -o json stack.yml production.yml'],
  ],
  'stack logs': [
    ['Of all its services, as lines come', 'skep stack logs -f -n 10 shop'],
    ['Of two of them', 'skep stack logs shop web db'],
  ],
  'stack ls': [['All stacks', 'skep stack ls']],
  'stack ps': [
    ['Its tasks, where they run and ran', 'skep stack ps shop'],
    ['Those that are wanted', 'skep stack ps -f desired-state=running shop'],
  ],
  'stack pull': [
    [
      'Before a deployment, so that it need not wait for the registry',
      'skep stack pull -c stack.yml shop',
    ],
    ['The images of what is deployed', 'skep stack pull shop'],
  ],
  'stack restart': [['Its services in their order', 'skep stack restart shop']],
  'stack rm': [['And wait until nothing of it is left', 'skep stack rm shop']],
  'stack rollback': [
    ['The deployment before the last', 'skep stack rollback shop'],
    ['What that would change', 'skep stack rollback --plan shop'],
  ],
  'stack services': [['With their replicas and ports', 'skep stack services shop']],
  'stack start': [['After "skep stack stop"', 'skep stack start shop']],
  'stack stats': [['Until Ctrl-C', 'skep stack stats shop']],
  'stack stop': [['No task runs, all else stays', 'skep stack stop shop']],
  'stack top': [['With columns of ps', 'skep stack top shop -eo pid,rss,args']],
  'network connect': [
    [
      'A container to a network that is attachable',
      'skep network connect --alias db back my-container',
    ],
  ],
  'network create': [
    ['For services on all nodes', 'skep network create -d overlay back'],
    [
      'Encrypted, and for containers too',
      'skep network create -d overlay --attachable -o encrypted back',
    ],
    [
      'With addresses of your choice',
      'skep network create -d overlay --subnet 10.20.0.0/16 --gateway 10.20.0.1 back',
    ],
    ['For containers of this host', 'skep network create local'],
  ],
  'network disconnect': [
    ['A container from a network', 'skep network disconnect back my-container'],
  ],
  'network inspect': [
    ['Its subnet', "skep network inspect -f '{{(index .IPAM.Config 0).Subnet}}' back"],
  ],
  'network ls': [['Those of the cluster', 'skep network ls -f scope=swarm']],
  'network prune': [['Those that nothing uses', 'skep network prune']],
  'network rm': [['Two at once', 'skep network rm back front']],
  'net trace': [['The way from a task to another service', 'skep net trace db --from web.1']],
  'net verify': [
    ['Whether each node has what it ought to have', 'skep net verify'],
    ['And put it right', 'skep net verify --repair'],
  ],
  'secret create': [
    ['From standard input', 'openssl rand -base64 20 | skep secret create db-password -'],
    ['From a file', 'skep secret create site.key ./site.key'],
  ],
  'secret inspect': [
    ['All but the content, which nobody can read', 'skep secret inspect --pretty db-password'],
  ],
  'secret ls': [['Names alone', "skep secret ls --format '{{.Name}}'"]],
  'secret rm': [['One that no service uses', 'skep secret rm db-password']],
  'config create': [
    ['From a file', 'skep config create site.conf ./site.conf'],
    ['From standard input', 'generate | skep config create site.conf -'],
  ],
  'config inspect': [['With its content', 'skep config inspect --pretty site.conf']],
  'config ls': [['Names alone', "skep config ls --format '{{.Name}}'"]],
  'config rm': [['One that no service uses', 'skep config rm site.conf']],
  'volume create': [
    ['On this host', 'skep volume create data'],
    [
      'A share of another machine',
      'skep volume create -o type=nfs -o o=addr=10.0.0.9,rw -o device=:/data share',
    ],
  ],
  'volume export': [['For a backup', 'skep volume export -o data.tar data']],
  'volume import': [
    ['From a backup', 'skep volume import data data.tar'],
    [
      'To another host, without a file',
      'skep volume export data | skep -H ssh://root@10.0.0.2 volume import data',
    ],
  ],
  'volume inspect': [['Where its files are', "skep volume inspect -f '{{.Mountpoint}}' data"]],
  'volume ls': [['Those that nothing uses', 'skep volume ls -f dangling=true']],
  'volume prune': [['Anonymous ones that nothing uses', 'skep volume prune']],
  'volume rm': [['With all its files', 'skep volume rm data']],
  'image history': [['Unabridged', 'skep image history --no-trunc nginx']],
  'image import': [['A root file system', 'skep image import rootfs.tar.gz base:1']],
  'image inspect': [['What it runs', "skep image inspect -f '{{json .Config.Cmd}}' nginx"]],
  'image load': [['What "docker save" wrote', 'skep image load -i images.tar']],
  'image ls': [
    ['All on this host', 'skep image ls'],
    ['By name', "skep images --format '{{.Repository}}:{{.Tag}} {{.Size}}' nginx"],
  ],
  'image prune': [['All that no container uses', 'skep image prune -a']],
  'image pull': [['By tag', 'skep pull nginx:1.27']],
  'image push': [
    ['To its registry', 'skep push registry.example.com/shop/web:2'],
    ['To every node of the cluster, without a registry', 'skep push --cluster web:2'],
  ],
  'image rm': [['By name', 'skep rmi nginx:1.26']],
  'image save': [['Two images in one archive', 'skep save -o images.tar web:2 db:1']],
  'image tag': [['A name for a registry', 'skep tag web:2 registry.example.com/shop/web:2']],
  'image verify': [['All that is stored on this host', 'skep image verify']],
  'container attach': [['Ctrl-P Ctrl-Q leaves it', 'skep attach my-container']],
  'container commit': [
    ['With another command', `skep commit -c 'CMD ["nginx"]' my-container web:3`],
  ],
  'container cp': [
    ['Out of a container', 'skep cp my-container:/var/log/app.log .'],
    ['Into it', 'skep cp site.conf my-container:/etc/nginx/conf.d/'],
  ],
  'container create': [['To start it later', 'skep create --name my-container nginx']],
  'container diff': [['What it wrote', 'skep diff my-container']],
  'container exec': [
    ['A shell', 'skep exec -it my-container sh'],
    ['As another user', 'skep exec -u www-data my-container id'],
  ],
  'container export': [['Its whole file system', 'skep export -o rootfs.tar my-container']],
  'container inspect': [
    ['Its state', "skep container inspect -f '{{.State.Status}}' my-container"],
  ],
  'container kill': [['A signal', 'skep kill -s HUP my-container']],
  'container logs': [['The last 20 lines, and what comes', 'skep logs -f -n 20 my-container']],
  'container ls': [
    ['What runs', 'skep ps'],
    ['All, with their state', "skep ps -a --format 'table {{.Names}}\\t{{.Status}}'"],
  ],
  'container pause': [['All its processes stand still', 'skep pause my-container']],
  'container port': [['Where port 80 is published', 'skep port my-container 80']],
  'container prune': [['Those that have ended', 'skep container prune']],
  'container rename': [['A name that says more', 'skep rename my-container web']],
  'container restart': [['With ten seconds to stop', 'skep restart -t 10 my-container']],
  'container rm': [['Also when it runs, with its anonymous volumes', 'skep rm -fv my-container']],
  'container run': [
    ['A shell that leaves nothing', 'skep run --rm -it alpine sh'],
    ['In the background, on port 8080', 'skep run -d --name web -p 8080:80 nginx'],
    [
      'With limits and a folder',
      'skep run --rm -m 256m --cpus 0.5 -v /srv/site:/site:ro alpine ls /site',
    ],
  ],
  'container start': [['And stay with it', 'skep start -a my-container']],
  'container stats': [
    ['All, until Ctrl-C', 'skep stats'],
    ['One, once', 'skep stats --no-stream my-container'],
  ],
  'container stop': [['With ten seconds to do so', 'skep stop -t 10 my-container']],
  'container top': [['Its processes', 'skep top my-container -eo pid,args']],
  'container unpause': [['After "skep pause"', 'skep unpause my-container']],
  'container update': [
    ['More memory, at once', 'skep update -m 512m --memory-swap 512m my-container'],
  ],
  'container wait': [['Prints its exit status', 'skep wait my-container']],
  'system df': [['Each image, container and volume', 'skep system df -v']],
  'system dial-stdio': [
    ['What skep itself runs for ssh:// daemons', 'ssh root@node-1 skep system dial-stdio'],
  ],
  'system events': [
    ['Services alone, as they come', 'skep events -f type=service'],
    [
      'What happened in the last hour, as JSON',
      "skep events --since 1h --until 0s --format '{{json .}}'",
    ],
  ],
  'system info': [['One field', "skep info -f '{{.Swarm.LocalNodeState}}'"]],
  'system prune': [['Images, containers and networks that nothing uses', 'skep system prune -a']],
  'context create': [
    ['Over SSH', 'skep context create east --docker host=ssh://root@10.0.0.1'],
    [
      'Over TLS',
      'skep context create west --docker host=tcp://10.1.0.1:2376,ca=ca.pem,cert=cert.pem,key=key.pem',
    ],
  ],
  'context export': [['For another machine', 'skep context export east east.tar']],
  'context import': [['What export wrote', 'skep context import east east.tar']],
  'context inspect': [['The one in force', 'skep context inspect']],
  'context ls': [['Those of docker, too', 'skep context ls']],
  'context rm': [['One that is not in force', 'skep context rm west']],
  'context show': [['In a prompt', 'skep context show']],
  'context update': [
    ['Another daemon', 'skep context update east --docker host=ssh://root@10.0.0.2'],
  ],
  'context use': [
    ['For all commands from now on', 'skep context use east'],
    ['For one of them', 'skep --context west node ls'],
  ],
  'dev up': [
    ['Three managers and two workers on this machine', 'skep dev up --managers 3 --workers 2'],
  ],
  'dev down': [['The end of it', 'skep dev down']],
  'dev status': [['Its hosts, addresses and sockets', 'skep dev status']],
  'dev load': [['Images on every host', 'skep dev load images.tar']],
  'dev kill': [['A crash', 'skep dev kill manager-1']],
  'dev start': [['After a crash', 'skep dev start manager-1']],
  'dev cut': [['No network', 'skep dev cut worker-1']],
  'dev heal': [['The network is back', 'skep dev heal worker-1']],
  'dev run': [['As from that host', 'skep dev run worker-1 -- ip addr']],
  'dev agents': [['A thousand nodes that do nothing', 'skep dev agents --count 1000']],
  completion: [
    ['In this shell', 'source <(skep completion bash)'],
    ['For good', 'skep completion zsh > ~/.zfunc/_skep'],
  ],
  doctor: [
    ['This host and its cluster', 'skep doctor'],
    ['For programs', 'skep doctor --json'],
  ],
  inspect: [
    ['Whatever has this name', 'skep inspect web'],
    ['Of one kind', 'skep inspect --type network back'],
  ],
  login: [
    ['Asks for user and password', 'skep login registry.example.com'],
    ['In a script', 'skep login -u ci --password-stdin registry.example.com < token'],
  ],
  logout: [['From a registry', 'skep logout registry.example.com']],
  version: [['Of the command and the daemon', 'skep version']],
};

/** @param words of the command, without `skep`; empty for one without examples */
export function examplesOf(words: string): readonly (readonly [does: string, line: string])[] {
  return Object.hasOwn(EXAMPLES, words) ? EXAMPLES[words]! : [];
}

/** As they stand at the end of the help. */
export function examplesText(words: string): string {
  const examples = examplesOf(words);
  if (examples.length === 0) return '';
  const lines = examples.map(([does, line]) => `  # ${does}\n  ${line}\n`);
  return `\nExamples:\n${lines.join('\n')}`;
}
