# docker-py as a client: each check prints its name and what it saw as one line of JSON. The engine is DOCKER_HOST's.
import io
import json
import socket
import tarfile
import time

import docker
from docker.types import EndpointSpec, RestartPolicy, ServiceMode

client = docker.from_env(version="auto", timeout=60)
api = client.api


def told(name, value):
    print(json.dumps([name, value], default=lambda it: it.decode()), flush=True)


def error_of(run):
    try:
        run()
    except docker.errors.APIError as err:
        return [err.status_code, err.explanation]
    return None


def container_checks():
    told("run", client.containers.run("box", ["echo", "hi"], remove=True))
    box = client.containers.run("box", ["sh", "-c", "echo out; echo err >&2; exec sleep 1000"], detach=True,
                                name="py-box", labels={"k": "v"}, environment={"E": "1"})
    code, output = box.exec_run(["sh", "-c", "echo $E; exit 2"])
    told("exec", [code, output])
    told("exec demux", list(box.exec_run(["sh", "-c", "echo o; echo e >&2"], demux=True).output))
    told("exec tty", box.exec_run("tty", tty=True).output)
    told("exec stream", b"".join(box.exec_run(["echo", "streamed"], stream=True).output))
    told("exec input", exec_with_input())
    told("logs", sorted(box.logs().decode().split()))
    told("logs stream", next(box.logs(stream=True, follow=True, stderr=False)))
    told("stats", box.stats(stream=False)["memory_stats"]["usage"] > 0)
    told("top", box.top()["Processes"][0][-1])
    told("put and get", put_and_get(box))
    told("diff", {"Path": "/f", "Kind": 1} in box.diff())
    box.rename("py-other")
    told("list", [it.name for it in client.containers.list(filters={"label": "k=v"})])
    box.pause()
    box.reload()
    told("pause", box.status)
    box.unpause()
    box.restart(timeout=0)
    box.kill("SIGKILL")
    told("wait", box.wait()["StatusCode"])
    box.remove(v=True)
    told("missing", error_of(lambda: client.containers.get("py-other")))
    done = client.containers.run("box", ["echo", "attached"], detach=True, name="py-done")
    done.wait()
    told("attach", attached_to(done))
    done.remove()


def attached_to(box):
    # docker-py loses what comes in one piece with the answer's head: it reads past the buffer which that is in.
    for _ in range(50):
        output = api.attach(box.id, logs=True)
        if output:
            return output
    return output


def exec_with_input():
    exec_id = api.exec_create("py-box", "cat", stdin=True)["Id"]
    stream = api.exec_start(exec_id, socket=True)
    stream._sock.sendall(b"hello\n")
    stream._sock.shutdown(socket.SHUT_WR)
    frames = b""
    while True:
        chunk = stream.read(4096)
        if not chunk:
            break
        frames += chunk
    return [frames[8:], api.exec_inspect(exec_id)["ExitCode"]]


def put_and_get(box):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        info = tarfile.TarInfo("f")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    box.put_archive("/", archive.getvalue())
    chunks, stat = box.get_archive("/f")
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        return [stat["name"], stat["size"], tar.extractfile("f").read()]


def object_checks():
    told("image", client.images.get("box").labels)
    client.images.get("box").tag("box2", "x")
    client.images.remove("box2:x")
    volume = client.volumes.create("py-volume", labels={"a": "b"})
    told("volume", [volume.attrs["Labels"], [it.name for it in client.volumes.list(filters={"label": "a=b"})]])
    volume.remove()
    network = client.networks.create("py-net", driver="overlay", attachable=True)
    told("network", [network.attrs["Scope"], [it.name for it in client.networks.list(names=["py-net"])]])
    network.remove()
    secret = client.secrets.create(name="py-secret", data=b"x")
    told("secret", [it.name for it in client.secrets.list(filters={"name": "py-secret"})])
    secret.remove()
    told("build", error_of(lambda: client.images.build(fileobj=io.BytesIO(b"FROM box")))[0])


def swarm_checks():
    told("nodes", sorted(it.attrs["Spec"]["Role"] for it in client.nodes.list()))
    service = client.services.create("box", command=["sh", "-c", "echo task; exec sleep 1000"], name="py-service",
                                     mode=ServiceMode("replicated", 2), endpoint_spec=EndpointSpec(ports={18099: 80}),
                                     env=["A=1"])
    when_running(service, 2)
    service.reload()
    before = running_of(service)
    service.scale(3)
    when_running(service, 3)
    # It sends back what it read, with the defaults written out.
    told("scaled", [len(client.services.list(filters={"name": "py-service"})), before <= running_of(service)])
    told("service logs", next(service.logs(stdout=True)))
    service.reload()
    told("updated", service.update(image="box", env=["A=2"], restart_policy=RestartPolicy("any", delay=10**9)))
    stale, spec = service.version, service.attrs["Spec"]
    again = dict(task_template=spec["TaskTemplate"], name=spec["Name"], mode=spec["Mode"],
                 endpoint_spec=spec["EndpointSpec"])
    told("current", as_it_is(service, again))
    told("stale", error_of(lambda: api.update_service(service.id, stale, **again)))
    service.remove()
    told("removed", error_of(lambda: client.services.get("py-service")))
    now = int(time.time())
    told("events", any(it["Action"] == "create" for it in client.events(since=now - 300, until=now, decode=True)))


def as_it_is(service, spec):
    # The update that goes on writes how far it is, too: a version may be old when it is told.
    deadline = time.monotonic() + 30
    while True:
        service.reload()
        error = error_of(lambda: api.update_service(service.id, service.version, **spec))
        if not error or "out of sequence" not in error[1] or time.monotonic() > deadline:
            return error


def running_of(service):
    return {it["ID"] for it in service.tasks({"desired-state": "running"}) if it["Status"]["State"] == "running"}


def when_running(service, count):
    deadline = time.monotonic() + 30
    while len(running_of(service)) < count:
        assert time.monotonic() < deadline, service.tasks()
        time.sleep(0.1)


told("version", client.version()["ApiVersion"])
container_checks()
object_checks()
swarm_checks()
