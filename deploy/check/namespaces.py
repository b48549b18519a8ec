"""Runs the services of a compose file in namespaces of the kernel, where there is no container engine.

    namespaces.py --image DIR --state DIR FILE (run|up|exec|cp|kill|stop|logs|down) ...

Each service gets what an engine would give it: a network namespace with one interface for each of its networks, the
names of its neighbours in /etc/hosts, a process and a mount namespace, a root of its own that holds the image and
nothing else, its mounts, its user, no capability and no new privilege. Of `deploy.resources`, `ulimits`, `logging` and
`restart` it knows nothing: those are an engine's. Needs root, util-linux, iproute2 and PyYAML.

It knows the keys that deploy/compose.yaml uses and ends at any other, so that nothing of the file goes untried unsaid.
"""

import argparse
import ctypes
import ipaddress
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import yaml

KNOWN = {
    "user", "read_only", "cap_drop", "security_opt", "tmpfs", "healthcheck", "stop_grace_period", "hostname",
    "networks", "extra_hosts", "volumes", "entrypoint", "command", "working_dir", "network_mode", "profiles",
}
AN_ENGINES = {"image", "pull_policy", "restart", "ulimits", "deploy", "logging"}
STRICT = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE = {"mnt": 0x00020000, "uts": 0x04000000, "ipc": 0x08000000, "pid": 0x20000000, "net": 0x40000000}
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}


def checked(result, what):
    """Ends with what the kernel said."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source, target, kind=None, flags=0, options=None):
    encoded = [None if text is None else str(text).encode() for text in (source, target, kind)]
    data = None if options is None else options.encode()
    checked(LIBC.mount(*encoded, ctypes.c_ulong(flags), data), f"mount {target}")


def ip(*words):
    subprocess.run(["ip", *words], check=True)


class Project:
    """A compose file, and what runs of it."""

    def __init__(self, file, image, state):
        self.directory = file.resolve().parent
        self.file = yaml.safe_load(file.read_text())
        self.name = self.file["name"]
        self.image, self.state = image.resolve(), state.resolve()
        self.config = json.loads((self.image / "config.json").read_text())
        (self.state / "run").mkdir(parents=True, exist_ok=True)
        for name, service in self.file["services"].items():
            strange = set(service) - KNOWN - AN_ENGINES
            if strange:
                sys.exit(f"{name}: these keys are not tried here: {', '.join(sorted(strange))}")
            for key, wanted in STRICT.items():
                if service.get(key) != wanted:
                    sys.exit(f"{name}: {key} is {service.get(key)!r}; it has to be {wanted!r}")

    def service(self, name):
        if name not in self.file["services"]:
            sys.exit(f"there is no service {name}")
        return self.file["services"][name]

    # Networks: one namespace with a bridge for each, one namespace for each service.

    def address(self, network, service):
        """With its length of prefix: what the file says, or one of a network that it leaves open."""
        given = (self.service(service)["networks"][network] or {}).get("ipv4_address")
        if given:
            subnet = ipaddress.ip_network(self.file["networks"][network]["ipam"]["config"][0]["subnet"])
            if ipaddress.ip_address(given) not in subnet:
                sys.exit(f"{service}: {given} is not in {network}, {subnet}")
            return f"{given}/{subnet.prefixlen}"
        networks, services = list(self.file["networks"]), list(self.file["services"])
        return f"10.213.{networks.index(network) + 100}.{services.index(service) + 10}/24"

    def space(self, name):
        return f"{self.name}-{name}"

    def lay_networks(self):
        existing = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout.split()
        if self.space("between") in existing:
            return
        for network in self.file["networks"]:
            space = self.space(network)
            ip("netns", "add", space)
            ip("-n", space, "link", "add", "bridge", "type", "bridge")
            ip("-n", space, "link", "set", "bridge", "up")
        for name, service in self.file["services"].items():
            space = self.space(name)
            ip("netns", "add", space)
            ip("-n", space, "link", "set", "lo", "up")
            for network in service.get("networks", {}):
                ip("-n", space, "link", "add", network, "type", "veth", "peer", "name", name, "netns", self.space(network))
                ip("-n", self.space(network), "link", "set", name, "master", "bridge", "up")
                ip("-n", space, "address", "add", self.address(network, name), "dev", network)
                ip("-n", space, "link", "set", network, "up")

    def hosts(self, name):
        given = [entry.partition(":") for entry in self.service(name).get("extra_hosts", [])]
        return "\n".join(["127.0.0.1 localhost", *(f"{address} {host}" for host, _, address in given)]) + "\n"

    # Processes.

    def pid(self, name):
        """The first process of a service that runs, as the host counts."""
        try:
            pid = int((self.state / "run" / name).read_text())
            os.kill(pid, 0)
            return pid
        except (FileNotFoundError, ProcessLookupError):
            return None

    def start(self, name, command, environment, output):
        """Forks: the child becomes the process of the service, the parent hears its process id."""
        self.lay_networks()
        service = self.service(name)
        entrypoint = service.get("entrypoint", self.config["entrypoint"])
        words = entrypoint + (command or service.get("command", self.config["cmd"]))
        user, group = (int(number) for number in service["user"].split(":"))
        self.make_volumes(service, user, group)
        pipe_read, pipe_write = os.pipe()
        middle = os.fork()
        if middle:
            os.close(pipe_write)
            first = int(os.read(pipe_read, 32) or b"0")
            os.close(pipe_read)
            return middle, first
        os.close(pipe_read)
        if output is not None:
            os.setsid()
            log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
        enter(f"/run/netns/{self.space(name)}", "net")
        checked(LIBC.unshare(CLONE["mnt"] | CLONE["uts"] | CLONE["ipc"] | CLONE["pid"]), "unshare")
        first = os.fork()
        if first:
            os.write(pipe_write, str(first).encode())
            os.close(pipe_write)
            if output is not None:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os._exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) & 0xFF)
        os.close(pipe_write)
        self.become(name, service, user, group, words, environment)

    def make_volumes(self, service, user, group):
        for source, _, _ in volumes(service):
            if not source.startswith("."):
                path = self.state / "volumes" / source
                if not path.exists():
                    path.mkdir(parents=True)
                    os.chown(path, user, group)

    def become(self, name, service, user, group, words, environment):
        """The root of the service, then the service. Does not return."""
        hosts = self.hosts(name)
        mount("none", "/", flags=MS_REC | MS_PRIVATE)
        root = self.state / "root"
        root.mkdir(exist_ok=True)
        mount("tmpfs", root, "tmpfs", MS_NOSUID, "mode=755")
        for path in sorted((self.image / "root").rglob("*")):
            target = root / path.relative_to(self.image / "root")
            if path.is_dir():
                target.mkdir()
            else:
                target.touch()
                mount(path, target, flags=MS_BIND)
        for folder in ("proc", "dev", "etc"):
            (root / folder).mkdir(exist_ok=True)
        (root / "etc/hosts").write_text(hosts)
        mount("proc", root / "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        for device in ("null", "random", "urandom"):
            (root / "dev" / device).touch()
            mount(f"/dev/{device}", root / "dev" / device, flags=MS_BIND)
        for source, target, read_only in volumes(service):
            path = self.directory / source if source.startswith(".") else self.state / "volumes" / source
            bind(path, root / target.lstrip("/"), read_only)
        for entry in service.get("tmpfs", []):
            target, options = entry.split(":")
            (root / target.lstrip("/")).mkdir(exist_ok=True)
            kept = ",".join(option for option in options.split(",") if "=" in option)
            mount("tmpfs", root / target.lstrip("/"), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, kept)
        (root / service.get("working_dir", self.config["workdir"]).lstrip("/")).mkdir(parents=True, exist_ok=True)
        mount("none", root, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID)
        os.chdir(root)
        checked(LIBC.syscall(SYS_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
        checked(LIBC.umount2(b".", MNT_DETACH), "umount")
        checked(LIBC.sethostname(name.encode(), len(name)), "sethostname")
        os.chdir(service.get("working_dir", self.config["workdir"]))
        drop_everything(user, group)
        execute(words, environment)


def volumes(service):
    """Source, target, whether read only."""
    for entry in service.get("volumes", []):
        source, target, *mode = entry.split(":")
        yield source, target, mode == ["ro"]


def bind(source, target, read_only):
    target.mkdir(parents=True, exist_ok=True)
    mount(source, target, flags=MS_BIND)
    if read_only:
        mount("none", target, flags=MS_REMOUNT | MS_BIND | MS_RDONLY)


def enter(path, kind):
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    checked(LIBC.setns(handle, CLONE[kind]), f"setns {path}")
    os.close(handle)


def drop_everything(user, group):
    checked(LIBC.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "ambient capabilities")
    for capability in range(64):
        # The kernel knows fewer, and refuses the numbers beyond.
        LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
    checked(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    left = {line.split(":")[0]: line.split()[1] for line in open("/proc/self/status") if line.startswith(("Cap", "NoNew"))}
    if left.pop("NoNewPrivs") != "1" or any(int(value, 16) for value in left.values()):
        sys.exit(f"privileges are left: {left}")


def execute(words, environment):
    variables = {"PATH": "/usr/local/bin", "HOME": "/", **environment}
    program = words[0] if "/" in words[0] else f"/usr/local/bin/{words[0]}"
    os.execve(program, [program, *words[1:]], variables)


def exit_of(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) & 0xFF


def run_inside(project, name, words, environment, quiet=False):
    pid = project.pid(name)
    if pid is None:
        sys.exit(f"{name} does not run")
    user, group = (int(number) for number in project.service(name)["user"].split(":"))
    outer = os.fork()
    if outer:
        return exit_of(outer)
    handles = {kind: os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in CLONE}
    for kind, handle in handles.items():
        checked(LIBC.setns(handle, CLONE[kind]), f"setns {kind}")
    inner = os.fork()
    if inner:
        os._exit(exit_of(inner))
    if quiet:
        os.dup2(os.open("/dev/null", os.O_RDWR), 1)
        os.dup2(1, 2)
    os.chdir("/")
    drop_everything(user, group)
    execute(words, environment)


def seconds(text):
    return int(text.removesuffix("s"))


def up(project, names, wait, recreate):
    for name in names or [name for name, service in project.file["services"].items() if "profiles" not in service]:
        if recreate:
            end(project, name, signal.SIGTERM)
        if project.pid(name) is None:
            _, pid = project.start(name, [], {}, project.state / f"{name}.log")
            (project.state / "run" / name).write_text(str(pid))
        if wait:
            await_health(project, name)


def await_health(project, name):
    check = project.service(name)["healthcheck"]
    kind, *words = check["test"]
    assert kind == "CMD", kind
    end = time.monotonic() + seconds(check["start_period"]) + seconds(check["interval"]) * check["retries"]
    while time.monotonic() < end:
        if project.pid(name) is None:
            sys.exit(f"{name} ended; look at its log")
        if run_inside(project, name, words, {}, quiet=True) == 0:
            return
        time.sleep(0.2)
    sys.exit(f"{name} is not healthy in time")


def end(project, name, number):
    pid = project.pid(name)
    if pid is None:
        return
    grace = seconds(project.service(name)["stop_grace_period"])
    begun = time.monotonic()
    os.kill(pid, number)
    while project.pid(name) is not None:
        if time.monotonic() - begun > grace:
            os.kill(pid, signal.SIGKILL)
            sys.exit(f"{name} did not end within its stop_grace_period of {grace} s")
        time.sleep(0.05)
    (project.state / "run" / name).unlink()


def down(project, with_volumes):
    for name in project.file["services"]:
        end(project, name, signal.SIGTERM)
    existing = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout.split()
    for name in [*project.file["services"], *project.file["networks"]]:
        if project.space(name) in existing:
            ip("netns", "delete", project.space(name))
    if with_volumes:
        shutil.rmtree(project.state / "volumes", ignore_errors=True)


def arguments():
    parser = argparse.ArgumentParser(description="the services of a compose file in namespaces")
    parser.add_argument("--image", type=pathlib.Path, required=True)
    parser.add_argument("--state", type=pathlib.Path, required=True)
    parser.add_argument("file", type=pathlib.Path)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("run", "exec"):
        command = verbs.add_parser(verb)
        command.add_argument("--rm", action="store_true")
        command.add_argument("-T", action="store_true")
        command.add_argument("-e", dest="environment", action="append", default=[])
        command.add_argument("service")
        command.add_argument("words", nargs=argparse.REMAINDER)
    start = verbs.add_parser("up")
    start.add_argument("-d", action="store_true", required=True)
    for flag in ("--wait", "--no-deps", "--force-recreate"):
        start.add_argument(flag, action="store_true")
    start.add_argument("services", nargs="*")
    copy = verbs.add_parser("cp")
    copy.add_argument("source")
    copy.add_argument("target", type=pathlib.Path)
    for verb in ("kill", "stop", "logs"):
        verbs.add_parser(verb).add_argument("services", nargs="+")
    verbs.add_parser("down").add_argument("--volumes", action="store_true")
    return parser.parse_args()


def main():
    asked = arguments()
    project = Project(asked.file, asked.image, asked.state)
    if asked.verb in ("run", "exec"):
        environment = {}
        for entry in asked.environment:
            name, given, value = entry.partition("=")
            environment[name] = value if given else os.environ[name]
        if asked.verb == "exec":
            sys.exit(run_inside(project, asked.service, asked.words, environment))
        process, _ = project.start(asked.service, asked.words, environment, None)
        sys.exit(exit_of(process))
    elif asked.verb == "up":
        up(project, asked.services, asked.wait, asked.force_recreate)
    elif asked.verb == "cp":
        name, _, path = asked.source.partition(":")
        shutil.copytree(f"/proc/{project.pid(name)}/root{path}", asked.target)
    elif asked.verb == "down":
        down(project, asked.volumes)
    else:
        for name in asked.services:
            if asked.verb == "logs":
                print((project.state / f"{name}.log").read_text(), end="")
            else:
                end(project, name, signal.SIGKILL if asked.verb == "kill" else signal.SIGTERM)


main()
