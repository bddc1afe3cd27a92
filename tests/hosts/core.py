"""The core on a test host: madre and watchdog as units of its systemd, and a caller of them. The roles are not used."""

import json
import secrets
from pathlib import Path
from typing import Any, Literal

import yaml

from tests.hosts.host import TestHost, until
from vx11 import tokens
from vx11.catalogue import allowlist, compose
from vx11.client import Madre
from vx11.conductor.cell import SCOPES
from vx11.conductor.matrix import ALLOWLIST, CATALOGUE
from vx11.engines.select import EngineName
from vx11.evidence import verify
from vx11.evidence.keys import PublicKeys

Part = Literal["madre", "watchdog"]
PARTS: tuple[Part, ...] = ("madre", "watchdog")
CELL = "default"
STATE, EVIDENCE, CONFIGURATION = "/run/vx11", "/var/log/vx11", "/etc/vx11"
UNITS = "/etc/systemd/system"
PORT = 8000
TOKEN_TTL = 3600.0
START_LIMIT = 30.0
COMMANDS: dict[Part, str] = {
    "madre": f"-m vx11 serve --config {CONFIGURATION}/madre.yml",
    "watchdog": f"-I -m vx11.watchdog --state {STATE}/{CELL}",
}
# What madre starts on the process engine outlives it. The condition keeps a part out: masking a unit would make systemd
# forget its KillMode, and kill what the part had started.
UNIT = """
[Unit]
Description=VX11 {part}
After=docker.service
StartLimitIntervalSec=0
ConditionPathExists=!{out}

[Service]
ExecStart=/usr/bin/python3 {command}
Restart=always
RestartSec=0.1
KillMode=process

[Install]
WantedBy=multi-user.target
"""


def for_host(bundle: Path) -> Path:
    """A bundle as a host has it: its images are there, and what they are built from is not."""
    folder = bundle / "for-host"
    folder.mkdir(exist_ok=True)
    catalogue = yaml.safe_load((bundle / CATALOGUE).read_text(encoding="utf-8"))
    for entry in catalogue["services"].values():
        entry.pop("build", None)
    (folder / CATALOGUE).write_text(yaml.safe_dump(catalogue), encoding="utf-8")
    allowlist.update(folder / ALLOWLIST, compose.load(folder / CATALOGUE), ())
    return folder


class Core:
    """madre and watchdog of a host's only cell.

    Args:
        host: where; it has started.
        bundle: folder with catalogue and allowlist; the images that they name are on the host.
        engine: what runs services.
    """

    def __init__(self, host: TestHost, bundle: Path, engine: EngineName = "docker") -> None:
        self.host = host
        key = secrets.token_hex(32)
        self.token = tokens.issue(bytes.fromhex(key), subject="tester", scopes=SCOPES, ttl=TOKEN_TTL, cell=CELL)
        settings = {
            "catalogue": CATALOGUE,
            "allowlist": ALLOWLIST,
            "key": "key",
            "engine": engine,
            "listen": f"0.0.0.0:{PORT}",
            "state": STATE,
            "evidence": EVIDENCE,
            "rate_limit": "off",
        }
        host.put(f"{CONFIGURATION}/key", key, mode=0o600)
        host.put(f"{CONFIGURATION}/madre.yml", json.dumps(settings))
        own = for_host(bundle)
        for name in (CATALOGUE, ALLOWLIST):
            host.put(f"{CONFIGURATION}/{name}", (own / name).read_bytes())
        for part in PARTS:
            host.put(f"{UNITS}/{unit(part)}", UNIT.format(part=part, command=COMMANDS[part], out=_out(part)))

    def start(self) -> None:
        """Starts both, now and at each boot; answers when both are there."""
        self.host.run("systemctl daemon-reload; systemctl enable -q --now vx11-madre vx11-watchdog")
        self.until_ready()

    def until_ready(self, *, watchdog: bool = True) -> None:
        """Waits until madre answers and sees the watchdog, where there is to be one."""
        with self.madre() as madre:
            until(
                lambda: madre.is_alive() and (not watchdog or bool(madre.status()["watchdog"])), START_LIMIT, self.words
            )

    def words(self) -> str:
        """What both have written."""
        return self.host.run("journalctl --no-pager -o cat -n 100 -u vx11-madre -u vx11-watchdog")

    def madre(self) -> Madre:
        """A client of its power API."""
        return Madre(f"http://{self.host.address}:{PORT}", self.token)

    def pid(self, part: Part) -> int:
        """The process of a part, 0 when there is none."""
        return int(self.host.run(f"systemctl show -P MainPID {unit(part)}"))

    def _state(self, part: Part) -> str:
        return self.host.run(f"systemctl show -P ActiveState {unit(part)}").strip()

    def kill(self, *parts: Part) -> None:
        """SIGKILL, one after the other; systemd starts them again."""
        self.host.run(["kill", "-KILL", *(str(self.pid(part)) for part in parts)])

    def take_out(self, part: Part) -> None:
        """SIGKILL, and systemd does not start it again, nor at the next boot."""
        pid = self.pid(part)
        self.host.run(f"touch {_out(part)}; kill -KILL {pid}")
        until(lambda: self._state(part) == "inactive", START_LIMIT, self.words)

    def bring_back(self) -> None:
        """Starts what was taken out, and waits for both."""
        self.host.run(["rm", "-f", *map(_out, PARTS)])
        self.host.run(["systemctl", "start", *map(unit, PARTS)])
        self.until_ready()

    def window(self, window_id: str) -> dict[str, Any]:
        """A window, open or closed, as madre tells."""
        with self.madre() as madre:
            status = madre.status(closed=True)
        found: dict[str, Any] = next(
            (item for item in (*status["windows"], *status["closed"]) if item["window_id"] == window_id), {}
        )
        return found

    def evidence(self, folder: Path) -> list[dict[str, Any]]:
        """Ends madre, so that nobody writes any more; copies the chain into a folder of this machine and verifies it.

        Returns:
            Its records.

        Raises:
            AssertionError: it is not sound.
        """
        self.host.run(["systemctl", "stop", unit("madre")])
        copy = folder / "evidence.jsonl"
        copy.write_bytes(self.host.read(f"{EVIDENCE}/evidence.jsonl"))
        found = verify.chain(copy, PublicKeys())
        assert found.records > 0, "it has no record"
        assert found.findings == ()
        return [json.loads(line) for line in copy.read_text(encoding="utf-8").splitlines()]

    def remove(self) -> None:
        """Ends both, whatever they run, and removes all that they wrote."""
        units = " ".join(map(unit, PARTS))
        self.host.run(
            f"systemctl disable -q --now {units}; systemctl start docker;"
            "grep -lsz '^VX11_WINDOW=' /proc/[0-9]*/environ | cut -d/ -f3 | xargs -r kill -KILL;"
            f"docker ps -aq --filter label=vx11.cell={CELL} | xargs -r docker rm -fv >/dev/null;"
            f"for place in {STATE} {EVIDENCE}; do if mountpoint -q $place; then umount $place; fi; done;"
            f"rm -rf {STATE} {EVIDENCE} {CONFIGURATION} /var/lib/vx11 {UNITS}/vx11-*; systemctl daemon-reload"
        )


def unit(part: Part) -> str:
    """The name of its unit."""
    return f"vx11-{part}.service"


def _out(part: Part) -> str:
    """The file that keeps it from starting."""
    return f"{CONFIGURATION}/without-{part}"
