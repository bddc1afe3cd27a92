"""A host is what its users take it for, and nothing of it stays."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from tests.hosts.errors import HostError
from tests.hosts.host import TestHost, left
from vx11 import __version__

pytestmark = [pytest.mark.docker, pytest.mark.host]


@pytest.fixture
def other(host: TestHost) -> Iterator[TestHost]:
    """A second host, which its test may remove."""
    found = TestHost()
    found.start()
    yield found
    found.remove()


def test_a_command_that_fails_says_why(host: TestHost) -> None:
    with pytest.raises(HostError, match=f"ended with 7 on {host.name}: out\nerr"):
        host.run("echo out; echo err >&2; exit 7")


def test_a_file_arrives_as_it_was(host: TestHost) -> None:
    content = bytes(range(256)) * 1000
    host.put("/root/a folder/file", content, mode=0o600)
    assert host.read("/root/a folder/file") == content
    assert host.run(["stat", "-c", "%a", "/root/a folder/file"]) == "600\n"


@pytest.mark.parametrize("flags", ["", "-I "], ids=["plain", "isolated"])
def test_it_runs_the_vx11_of_this_checkout(host: TestHost, flags: str) -> None:
    assert host.run(f"cd /; python3 {flags}-m vx11 --version") == f"vx11 {__version__}\n"


def test_ssh_and_ansible_reach_it(host: TestHost) -> None:
    if shutil.which("ssh") is None:
        pytest.skip("there is no ssh client")
    done = subprocess.run([*host.ssh_command(), "hostname"], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == f"{host.name}\n"
    entry = host.inventory()
    assert (entry["ansible_host"], entry["ansible_user"]) == (host.address, "root")
    assert Path(entry["ansible_ssh_private_key_file"]).stat().st_mode & 0o077 == 0


def test_a_reboot_keeps_the_disk_and_empties_run(host: TestHost) -> None:
    host.run("touch /root/kept /run/lost")
    host.reboot()
    assert host.run("ls /root/kept") == "/root/kept\n"
    with pytest.raises(HostError, match="No such file"):
        host.run("ls /run/lost")


def test_its_control_groups_are_its_own(host: TestHost) -> None:
    """Were they the machine's, systemd would remount and change them for everybody."""
    assert host.run("readlink /proc/1/ns/cgroup").strip() != Path("/proc/self/ns/cgroup").readlink().name
    machine = Path("/sys/fs/cgroup")
    if not (machine / "cgroup.controllers").exists():  # version 1: folders of a tmpfs, not one file system
        assert int(host.run("stat -c %d /sys/fs/cgroup")) != machine.stat().st_dev


def test_nothing_of_it_stays(other: TestHost, eventually: Callable[..., object]) -> None:
    client = docker.from_env()
    made = client.containers.get(other.name)
    volumes = [mount["Name"] for mount in made.attrs["Mounts"] if mount["Type"] == "volume"]
    other.run("for place in $(awk '$3 ~ /^cgroup/ {print $2}' /proc/mounts); do mkdir $place/of-the-host; done")
    # Others' groups come and go meanwhile, which a walk takes as it is.
    groups = [Path(folder, made.id) for folder, names, _ in os.walk("/sys/fs/cgroup") if made.id in names]
    assert all((path / "of-the-host").is_dir() for path in groups)
    other.remove()
    eventually(lambda: not any(path.exists() for path in groups))
    assert (len(volumes), len(groups) > 0) == (1, True)
    assert other.name not in left(client)
    assert [item.name for item in client.volumes.list() if item.name in volumes] == []
    assert not other.folder.exists()
    client.close()
