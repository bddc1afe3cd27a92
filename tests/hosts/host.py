"""One host for tests, from its image to its sure end.

Whatever restarts an engine, fills a disk or cuts a network is done on such a host, never on the machine of whoever runs
the tests. It runs the checkout's `vx11` on its own Python: what the running interpreter imports is mounted read-only.
"""

import contextlib
import itertools
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container
from docker.types import Mount
from docker.utils.socket import frames_iter

from tests.hosts.errors import FAILURES, HostError
from tests.hosts.image import build_image

MARK = "vx11.test-host"
# No SYS_TIME: the clock is the machine's. No SYS_RESOURCE: the machine itself may lack it.
CAPABILITIES = ("SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE")
UNCONFINED = ("seccomp=unconfined", "apparmor=unconfined")
SITE = "/srv/python"
SAID = "/srv/said"
# Renamed at last, so that who sees the code sees all of it.
RECORDED = """
said=$1; limit=$2; shift 2
timeout "$limit" "$@" >"$said.out" 2>"$said.err"; echo $? >"$said.new"
mv "$said.new" "$said.code"
"""
COMMAND_LIMIT = 120.0
CALL_LIMIT = 30.0
BOOT_LIMIT = 60.0
SERVICES = ("docker", "ssh")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


class TestHost:
    """A host with a network of its own; nothing of it is left after `remove`.

    Args:
        name: its name on the machine; one that no other host has.

    Attributes:
        folder: holds the private key, and the host's public one, for ssh; and what commands have said.

    Raises:
        HostError: the name is none.
    """

    __test__ = False  # it is no test case

    def __init__(self, name: str = "") -> None:
        self.name = name or f"vx11-host-{secrets.token_hex(4)}"
        if not _NAME.fullmatch(self.name):
            raise HostError(f"{self.name!r} is no name for a host; take small letters, digits and hyphens")
        self.folder = Path(tempfile.gettempdir()) / f"{MARK}.{self.name}"
        self.address = ""
        self._commands = itertools.count(1)
        self._client = docker.from_env(timeout=round(COMMAND_LIMIT + CALL_LIMIT))
        self._container: Container | None = None

    def start(self) -> None:
        """Builds the image where it is missing, starts the host, and waits until it has booted.

        Raises:
            HostError: it did not start, and nothing of it is left; or another has its name.
        """
        if self.name in left(self._client):
            raise HostError(f"there is a host {self.name} already")
        try:
            self._start()
        except (HostError, OSError, *FAILURES) as error:
            self.remove()
            raise HostError(f"the host {self.name} did not start: {error}") from error
        except BaseException:
            self.remove()
            raise

    def _start(self) -> None:
        image = build_image(self._client)
        self.folder.mkdir(mode=0o700)
        (self.folder / "said").mkdir()
        network = self._client.networks.create(self.name, labels={MARK: self.name})
        self._container = self._create(image, str(network.name))
        self._container.start()
        self._until_booted()
        self._offer_python()
        self._offer_ssh()

    def _create(self, image: str, network: str) -> Container:
        api = self._client.api
        places = [Mount(f"{SITE}/{n}", path, "bind", read_only=True) for n, path in enumerate(site_paths())]
        said = Mount(SAID, str(self.folder / "said"), "bind")
        config = api.create_host_config(
            network_mode=network,
            cap_add=list(CAPABILITIES),
            security_opt=list(UNCONFINED),
            cgroupns="private",
            mounts=[Mount("/var/lib/docker", None, labels={MARK: self.name}), said, *places],
            tmpfs={"/run": "", "/tmp": ""},
        )
        # What `docker run --security-opt systempaths=unconfined` asks for: the inner engine writes below /proc/sys.
        config |= {"MaskedPaths": [], "ReadonlyPaths": []}
        made = api.create_container(
            image, name=self.name, hostname=self.name, labels={MARK: self.name}, host_config=config
        )
        return self._client.containers.get(made["Id"])

    def _offer_python(self) -> None:
        """Lets every Python of the host import what ours does, with -I too, which ignores PYTHONPATH."""
        places = "".join(f"{SITE}/{n}\n" for n, _ in enumerate(site_paths()))
        self.put("/usr/lib/python3/dist-packages/vx11.pth", places)
        self.run(["python3", "-I", "-c", "import vx11"])

    def _offer_ssh(self) -> None:
        self.run(
            "mkdir -pm 700 /root/.ssh; ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id; "
            "mv /root/.ssh/id.pub /root/.ssh/authorized_keys"
        )
        key = self.folder / "id"
        key.touch(0o600)
        key.write_bytes(self.read("/root/.ssh/id"))
        self.run("rm /root/.ssh/id")
        public = self.run("cat /etc/ssh/ssh_host_ed25519_key.pub").split()
        (self.folder / "known_hosts").write_text(f"{self.address} {public[0]} {public[1]}\n", encoding="ascii")

    def _until_booted(self) -> None:
        """Waits for the end of the boot, and for what the host is for."""
        assert self._container
        until(lambda: self._says("systemctl is-system-running") in ("running", "degraded"), BOOT_LIMIT, self._why)
        until(
            lambda: self._says("systemctl is-active " + " ".join(SERVICES)) == "active\nactive", BOOT_LIMIT, self._why
        )
        self._container.reload()
        self.address = str(self._container.attrs["NetworkSettings"]["Networks"][self.name]["IPAddress"])

    def _says(self, command: str) -> str:
        """What a command prints, whatever its exit code."""
        return self.run(f"{command} 2>&1 || true").strip()

    def _why(self) -> str:
        return f"{self.name} did not boot: {self._says('systemctl --no-pager --failed; systemctl list-jobs')}"

    def run(self, command: str | Sequence[str], stdin: Iterable[bytes] | None = None) -> str:
        """Runs a shell line (with -e), or a program with its arguments; answers what it wrote to stdout.

        Raises:
            HostError: it ended with another code than 0, which is 124 after two minutes; has stdout and stderr.
        """
        return self._exec(command, stdin).decode(errors="replace")

    def _exec(self, command: str | Sequence[str], stdin: Iterable[bytes] | None = None) -> bytes:
        """Output goes through files, since the engine loses that of 1 in 200 commands on a busy machine."""
        assert self._container
        words = ["sh", "-ec", command] if isinstance(command, str) else list(command)
        number = next(self._commands)
        recorded = ["sh", "-c", RECORDED, "run", f"{SAID}/{number}", f"{COMMAND_LIMIT:g}", *words]
        made = self._client.api.exec_create(self._container.id, recorded, stdin=stdin is not None)["Id"]
        if stdin is None:
            self._client.api.exec_start(made)
        else:
            self._feed(made, stdin)
        out, err, code = (self.folder / "said" / f"{number}.{kind}" for kind in ("out", "err", "code"))
        until(code.exists, CALL_LIMIT, lambda: f"{shlex.join(words)} was interrupted on {self.name}")
        if (ended := int(code.read_text(encoding="ascii"))) != 0:
            text = (out.read_bytes() + err.read_bytes()).decode(errors="replace").strip()
            raise HostError(f"{shlex.join(words)} ended with {ended} on {self.name}: {text}")
        return out.read_bytes()

    def _feed(self, made: str, stdin: Iterable[bytes]) -> None:
        """Starts a command, writes to it, and waits for its end."""
        with _attached(self._client.api.exec_start(made, socket=True)) as (stream, line):
            for chunk in stdin:
                line.sendall(chunk)
            line.shutdown(socket.SHUT_WR)
            for _ in frames_iter(stream, tty=False):
                pass

    def put(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Writes a file on the host, and the folders above it."""
        data = content.encode() if isinstance(content, str) else content
        line = 'mkdir -p "$(dirname "$1")"; cat > "$1"; chmod "$2" "$1"'
        self.run(["sh", "-ec", line, "put", path, f"{mode:o}"], stdin=[data])

    def read(self, path: str) -> bytes:
        """The content of a file on the host."""
        return self._exec(["cat", path])

    def processes(self, text: str) -> list[str]:
        """Command lines with this text in them, of all that runs on the host and in its containers."""
        return [line for line in self.run(["ps", "-ww", "-eo", "args"]).splitlines() if text in line]

    def load_image(self, name: str) -> None:
        """Copies an image from the machine's engine into the host's, unless it is there."""
        if not self._says(f"docker image ls -q {name}"):
            self.run(["docker", "load", "-q"], stdin=self._client.images.get(name).save(named=True))

    def reboot(self, *, cut: bool = False) -> None:
        """Restarts the host: by systemd's own shutdown, or as if the power had been cut. /run is empty afterwards.

        The kernel is the machine's, so its boot id stays the same.
        """
        assert self._container
        if cut:
            self._container.kill()
            self._container.wait()
            self._container.start()
        else:
            self._container.restart(timeout=round(BOOT_LIMIT))
        self._until_booted()

    def ssh_command(self) -> list[str]:
        """The words of an ssh to root on the host."""
        return ["ssh", "-i", str(self.folder / "id"), *shlex.split(self._ssh_options()), f"root@{self.address}"]

    def inventory(self) -> dict[str, Any]:
        """The host variables of an Ansible inventory."""
        return {
            "ansible_host": self.address,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.folder / "id"),
            "ansible_ssh_common_args": self._ssh_options(),
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    def _ssh_options(self) -> str:
        return f"-o UserKnownHostsFile={self.folder / 'known_hosts'} -o IdentitiesOnly=yes -o BatchMode=yes"

    def remove(self) -> None:
        """Removes all that carries the host's mark, and its folder; does nothing when there is none."""
        remove(self._client, self.name)
        shutil.rmtree(self.folder, ignore_errors=True)
        self._client.close()


def remove(client: docker.DockerClient, name: str) -> None:
    """Removes the container, volume and network of a host."""
    mark: dict[str, Any] = {"label": f"{MARK}={name}"}
    for container in client.containers.list(all=True, filters=mark):
        container.remove(force=True, v=True)
    for volume in client.volumes.list(filters=mark):
        volume.remove()
    for network in client.networks.list(filters=mark):
        network.remove()


def left(client: docker.DockerClient) -> list[str]:
    """Names of all hosts of which anything is on the machine."""
    mark: dict[str, Any] = {"label": MARK}
    found = [item.labels for item in client.containers.list(all=True, filters=mark, ignore_removed=True)]
    found += [
        item.attrs["Labels"] for item in (*client.volumes.list(filters=mark), *client.networks.list(filters=mark))
    ]
    return sorted({labels[MARK] for labels in found})


def site_paths() -> list[str]:
    """The folders that `site` adds to the path of the running interpreter: packages, and checkouts in edit mode."""
    bare = _paths("-I", "-S")
    return [path for path in _paths("-I") if path not in bare and Path(path).is_dir()]


def _paths(*flags: str) -> list[str]:
    code = "import sys; print(*sys.path, sep='\\n')"
    done = subprocess.run([sys.executable, *flags, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()


@contextlib.contextmanager
def _attached(stream: Any) -> Iterator[tuple[Any, socket.socket]]:
    """What exec_start answers, with the socket below it; both are closed, and the answer that they came with."""
    line: socket.socket = stream._sock
    try:
        yield stream, line
    finally:
        stream._response.close()
        stream.close()
        line.close()


def until(check: Callable[[], bool], limit: float, why: Callable[[], str]) -> None:
    """Waits until `check` is true.

    Raises:
        HostError: it is still false after `limit` seconds; says `why()`.
    """
    end = time.monotonic() + limit
    while not check():
        if time.monotonic() > end:
            raise HostError(f"{why()} (waited {limit:g} s)")
        time.sleep(0.05)
