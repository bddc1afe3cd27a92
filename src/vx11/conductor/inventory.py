"""Reads the hosts that cases are to run on from an inventory, as Ansible itself sees them.

`ansible-inventory` shows variables as they were written; what a template or a vault holds is known to a task alone. So
a task is what asks, on the controller: it connects to no host.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vx11.conductor.collection import Collection
from vx11.conductor.play import ansible_environment
from vx11.errors import InputError

TIMEOUT = 120.0
ASKED = {
    "url": "{{ vx11_url | default('') }}",
    "token": "{{ vx11_token | default('') }}",
    "service_token": "{{ vx11_service_token | default('') }}",
    "group": "{{ inventory_hostname if inventory_hostname in groups else '' }}",
}
# A result of a host, as ad-hoc commands print it: its name, how it went, and an object.
_RESULT = re.compile(r"^(?P<host>\S.*?) \| (?P<how>[A-Z!]+) => (?=\{)", re.MULTILINE)
# Nothing but our own pipe is told what the task found: a vault may hold it.
_QUIET = {
    "ANSIBLE_FORCE_COLOR": "0",
    "ANSIBLE_INVENTORY_UNPARSED_FAILED": "1",
    "ANSIBLE_LOAD_CALLBACK_PLUGINS": "0",
    "ANSIBLE_LOG_PATH": os.devnull,
}


@dataclass(frozen=True)
class InventoryHost:
    """A host and its madre.

    Attributes:
        name: as the inventory calls it.
        token: for its madre.
        service_token: for services behind its gateway; empty without.
    """

    name: str
    url: str
    token: str = field(repr=False)
    service_token: str = field(default="", repr=False)


def read(path: Path, limit: str | None, parts: Collection, token: str) -> list[InventoryHost]:
    """The hosts of an inventory, by name.

    Args:
        path: anything that Ansible reads: a file, a folder, a script, the configuration of a plugin.
        limit: a pattern; only hosts that it matches.
        token: for hosts that have no `vx11_token`.

    Raises:
        InputError: Ansible cannot read it, it has no such host, hosts lack their address or a token, or share a madre.
    """
    if not path.exists():
        raise InputError.of("there is no such inventory", path)
    hosts: list[InventoryHost] = []
    wrong: list[str] = []
    for name, how, result in sorted(_results(_asked(path.resolve(), limit, parts)), key=lambda found: found[0]):
        if how != "SUCCESS":
            wrong.append(f"{name}: {result.get('msg', 'its variables cannot be read')}")
            continue
        url, own, services, group = (str(result["msg"][key]).strip() for key in ASKED)
        hosts.append(InventoryHost(name, url.rstrip("/"), own or token, services))
        if group:
            wrong.append(f"{name}: a group has the same name, so that Ansible cannot be limited to this host")
    wrong += _complaints(hosts)
    if wrong:
        raise InputError([InputError.of(what, path).problems[0] for what in wrong])
    return hosts


def _asked(path: Path, limit: str | None, parts: Collection) -> str:
    """What Ansible prints when each host is asked."""
    command = [sys.executable, "-m", "ansible", "adhoc", "all", "-i", str(path), "-m", "ansible.builtin.debug"]
    command += ["-a", json.dumps({"msg": ASKED}), *(["--limit", limit] if limit else [])]
    with tempfile.TemporaryDirectory(prefix="vx11-inventory-") as scratch:
        folder = Path(scratch)
        own = ansible_environment(parts.search_path(folder / "collections"), folder / "home", folder)
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                env=os.environ | own | _QUIET,
                cwd=scratch,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise InputError.of(f"Ansible has not read this inventory within {TIMEOUT:g} s", path) from error
    if not _RESULT.search(done.stdout):
        said = " ".join(done.stderr.split()) or "it said nothing"
        raise InputError.of(f"Ansible finds no host in this inventory: {said}", path)
    return done.stdout


def _results(output: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Host, how it went, and what came of it."""
    decoder = json.JSONDecoder()
    end = 0
    while found := _RESULT.search(output, end):
        result, end = decoder.raw_decode(output, found.end())
        yield found["host"], found["how"].rstrip("!"), result


def _complaints(hosts: Sequence[InventoryHost]) -> Iterator[str]:
    """What is wrong with them, all hosts with the same mistake in one sentence."""
    yield from _lacking(hosts, lambda host: host.url, "lack vx11_url, the address of their madre")
    yield from _lacking(hosts, lambda host: host.token, "have no token; set VX11_TOKEN or the host variable vx11_token")
    names = defaultdict(list)
    for host in hosts:
        names[host.url].append(host.name)
    for url, sharing in names.items():
        if url and len(sharing) > 1:
            yield f"these hosts have the same madre, {url}, which runs one case at a time: {', '.join(sharing)}"


def _lacking(hosts: Sequence[InventoryHost], known: Callable[[InventoryHost], str], what: str) -> Iterator[str]:
    if lacking := [host.name for host in hosts if not known(host)]:
        yield f"these hosts {what}: {', '.join(lacking)}"
