"""An installed core on a test host: tentaculo_link, madre and watchdog as the units that `vx11 core render` writes."""

import io
import json
import secrets
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.hosts.core import CELL, CONFIGURATION, EVIDENCE, PORT, STATE, for_host
from tests.hosts.host import TestHost, until
from vx11 import tokens
from vx11.client import Madre
from vx11.conductor.cell import SCOPES
from vx11.conductor.matrix import ALLOWLIST, CATALOGUE

SETTINGS = f"{CONFIGURATION}/madre.yml"
ALWAYS = ("vx11-network.service", "vx11-tentaculo-link.service", "vx11-madre.service", "vx11-watchdog.service")
ON_DEMAND = ("vx11-tentaculo-link.path", "vx11-evidence-collector.socket", "vx11-tests.socket")
MATRICES = "/usr/share/vx11/matrices"
COLLECTION = "/usr/share/ansible/collections/ansible_collections/vx11/power"
TOKEN_TTL = 3600.0
START_LIMIT = 60.0
# Who may read what: each part its own key, the catalogue both that need it.
INSTALL = f"""
python3 -m vx11 core render --config {SETTINGS} --python /usr/bin/python3 --to /
systemd-sysusers
python3 -m vx11 token service-key --key {CONFIGURATION}/key --out {CONFIGURATION}/gateway.key
for name in evidence tests; do python3 -m vx11 evidence new-key --key {CONFIGURATION}/$name.key; done
chown vx11 {CONFIGURATION}/key {CONFIGURATION}/evidence.key
chown vx11-tests {CONFIGURATION}/tests.key
chown vx11-link {CONFIGURATION}/gateway.key
systemd-tmpfiles --create vx11.conf
systemctl daemon-reload
systemctl enable -q --now {" ".join([*ALWAYS, *ON_DEMAND])}
"""


class InstalledCore:
    """The whole core of a host.

    Args:
        host: where; it has started.
        bundle: folder with catalogue and allowlist; the images that they name are on the host.
    """

    def __init__(self, host: TestHost, bundle: Path) -> None:
        self.host = host
        self._key = secrets.token_hex(32)
        self.url = f"http://{host.address}:{PORT}"
        settings = {
            "catalogue": CATALOGUE,
            "allowlist": ALLOWLIST,
            "key": "key",
            "evidence_key": "evidence.key",
            "engine": "docker",
            "listen": "127.0.0.1:8001",
            "state": STATE,
            "evidence": EVIDENCE,
            "rate_limit": "off",
            "tests_socket": "/run/vx11/tests.sock",
            "matrices": MATRICES,
            "gateway": {"listen": [f"0.0.0.0:{PORT}"], "url": self.url, "key": "gateway.key"},
        }
        host.put(f"{CONFIGURATION}/key", self._key, mode=0o600)
        host.put(SETTINGS, json.dumps(settings))
        own = for_host(bundle)
        for name in (CATALOGUE, ALLOWLIST):
            host.put(f"{CONFIGURATION}/{name}", (own / name).read_bytes())

    def start(self) -> None:
        """Installs and starts it; returns when it answers, and sees its watchdog."""
        self.host.run(INSTALL)
        self.until_ready()

    def until_ready(self) -> None:
        """Waits until the entry answers, and madre sees the watchdog."""
        with self.madre() as madre:
            until(lambda: madre.is_alive() and bool(madre.status()["watchdog"]), START_LIMIT, self.words)

    def answers(self) -> bool:
        """Whether its entry leads to madre."""
        with self.madre() as madre:
            return madre.is_alive()

    def words(self) -> str:
        """What all of them have written."""
        return self.host.run("journalctl --no-pager -o cat -n 60 -u 'vx11-*'")

    def put_folder(self, folder: Path, names: Sequence[str], to: str) -> None:
        """Copies parts of a folder of this machine to the host."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name in names:
                archive.add(folder / name, name)
        self.host.run(["sh", "-ec", 'mkdir -p "$0"; tar -xC "$0" --no-same-owner', to], stdin=[packed.getvalue()])

    def token(self, *scopes: str) -> str:
        """One of this host."""
        key = bytes.fromhex(self._key)
        return tokens.issue(key, subject="tester", scopes=scopes or SCOPES, ttl=TOKEN_TTL, cell=CELL)

    def service_token(self, service: str) -> str:
        """One for a service behind the gateway."""
        return self.host.run(
            f"python3 -m vx11 token issue --sub tester --scope svc:{service} --ttl 10m "
            f"--key {CONFIGURATION}/key --cell {CELL}"
        ).strip()

    def madre(self) -> Madre:
        """A client of its power API, through the entry."""
        return Madre(self.url, self.token())

    def check(self, *words: str) -> dict[str, Any]:
        """What `vx11 core check` finds on the host."""
        line = f"python3 -m vx11 core check --config {SETTINGS} --json {' '.join(words)} || [ $? = 1 ]"
        found: dict[str, Any] = json.loads(self.host.run(line))
        return found

    def remove(self) -> None:
        """Ends all of it, and removes what was installed and written."""
        self.host.run(
            f"systemctl disable -q --now {' '.join([*ALWAYS, *ON_DEMAND])};"
            f"docker ps -aq --filter label=vx11.cell={CELL} | xargs -r docker rm -fv >/dev/null;"
            f"rm -rf {STATE} {EVIDENCE} {CONFIGURATION} {MATRICES} {COLLECTION}"
            " /etc/systemd/system/*vx11* /etc/sysusers.d/vx11.conf /etc/tmpfiles.d/vx11.conf; systemctl daemon-reload"
        )
