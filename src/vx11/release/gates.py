"""The eight gates (specification §7): each looks at one thing, and answers what holds and what does not.

A gate that finds nothing to look at is not applicable, and says why; one that should look and cannot has failed.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from vx11.client import MadreRefused, MadreUnreachable
from vx11.engines import netns
from vx11.errors import Vx11Error
from vx11.evidence import audit
from vx11.evidence.layout import HEADS
from vx11.evidence.redact import Redactor
from vx11.evidence.verify import State
from vx11.release import core, databases, outside, secrets
from vx11.release.config import Release
from vx11.release.repository import Repository
from vx11.release.verdicts import Check, NotApplicable, Outcome, Result, judged

CHAT = "/operator/api/chat"
REQUESTS = 10
FALLBACK = "local_llm_degraded"
MAINTENANCE_TIMEOUT = 3600.0
# Of so many secrets the places are told one by one, and of what a command said so many characters.
MOST, LAST_WORDS = 50, 500
OFF = {"", "0", "false", "no", "off"}
QUESTIONS = ("Is this host in SOLO_MADRE?", "What is open?", "Sing me a song")


@dataclass(frozen=True)
class Gate:
    """One gate.

    Attributes:
        title: what it proves.
        remedy: what to do where it does not pass.
        look: answers its checks; `NotApplicable` where there is nothing to look at.
        asks: whether it takes a token.
    """

    number: int
    title: str
    remedy: str
    look: Callable[[Release], Sequence[Check]]
    asks: bool = False


def run(gate: Gate, release: Release) -> Result:
    """What a gate comes to, whatever happens while it looks."""
    began = time.monotonic()
    checks: Sequence[Check] = ()
    try:
        checks = gate.look(release)
        outcome, reason = judged(checks)
    except NotApplicable as why:
        outcome, reason = Outcome.NOT_APPLICABLE, str(why)
    except Exception as error:  # noqa: BLE001 - what cannot be measured has not passed, and the other gates are looked at
        outcome, reason = Outcome.FAILED, f"it could not be measured: {_sentence(error)}"
    return Result(gate.number, gate.title, outcome, reason, tuple(checks), round(time.monotonic() - began, 3))


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, Vx11Error) else f"{type(error).__name__}: {error}"


def integrity(release: Release) -> Sequence[Check]:
    """Gate 1: the checks of SQLite, of each file."""
    names = _names_of_databases(release)
    found, missing = databases.find(names)
    if not found and not missing:
        where = f"no SQLite file lies in {', '.join(names)}" if names else "no place with databases is known or named"
        raise NotApplicable(where)
    return [*_sound(found), *(Check(f"{name} is there", holds=False) for name in missing)]


def _names_of_databases(release: Release) -> list[str]:
    return [*release.closing.databases, *(str(place) for place in release.places if place.exists())]


def _sound(found: Iterable[Path]) -> list[Check]:
    return [
        Check(f"{pragma} of {path}", not wrong, "; ".join(wrong))
        for path in found
        for pragma, wrong in databases.examine(path).findings.items()
    ]


def health(release: Release) -> Sequence[Check]:
    """Gate 2: the entry, madre, the watchdog, and the units that are named."""
    checks = [Check(f"the entry {release.url} answers GET /health", release.madre.is_alive())]
    try:
        status = release.madre.status()
    except (MadreUnreachable, MadreRefused) as error:
        checks.append(Check("madre tells its status", holds=False, detail=str(error)))
    else:
        solo = "in SOLO_MADRE" if status["solo_madre"] else "not in SOLO_MADRE"
        checks.append(Check("madre tells its status", holds=True, detail=f"cell {status['cell']}, {solo}"))
        checks.append(Check("a watchdog is alive", bool(status["watchdog"])))
    states = ((unit, core.unit_state(unit)) for unit in release.closing.core)
    return [*checks, *(Check(f"the unit {unit} is active", state == "active", state) for unit, state in states)]


def no_secrets(release: Release) -> Sequence[Check]:
    """Gate 3: the tree, its history, and that no `.env` is or was in git."""
    if release.closing.tree is None:
        raise NotApplicable("no tree is named")
    repository = Repository(release.closing.tree)
    beside = release.closing.tree / secrets.BASELINE
    known = secrets.known(release.closing.secrets or (beside if beside.is_file() else None))
    checks = [Check("the history is whole", not repository.is_shallow(), "shallow" if repository.is_shallow() else "")]
    for scan, of in ((secrets.in_tree, "files of the tree"), (secrets.in_history, "commits of the history")):
        found, count = scan(repository, known)
        checks.append(Check(f"there is no secret in {count} {of}", not found, _told(found)))
    files = repository.environment_files()
    return [*checks, Check("no .env is or was in git", not files, _told(files))]


def _told(found: Sequence[object]) -> str:
    more = [f"and {len(found) - MOST} more"] if len(found) > MOST else []
    return ", ".join([*map(str, found[:MOST]), *more])


def operator(release: Release) -> Sequence[Check]:
    """Gate 4: ten questions, paced so that the rate limit never stands in the way."""
    checks = []
    for number in range(1, REQUESTS + 1):
        status, said = _ask(release, QUESTIONS[0])
        checks.append(
            Check(f"request {number} of {REQUESTS} is answered with 200", status == 200, _short(status, said))
        )
    return checks


def _ask(release: Release, message: str) -> tuple[int, dict[str, Any]]:
    """One question; the status is 0 when nobody answered."""
    time.sleep(release.closing.pace)
    try:
        answer = release.madre.http.post(CHAT, json={"message": message, "session_id": "closing"})
        body = answer.json()
    except httpx.HTTPError as error:
        return 0, {"detail": str(error)}
    except ValueError:
        return answer.status_code, {"detail": "what came is not JSON"}
    return answer.status_code, body if isinstance(body, dict) else {}


def _short(status: int, said: dict[str, Any]) -> str:
    why = "" if status == 200 else f": {said.get('detail') or said.get('title') or 'it says nothing'}"
    return f"{status or 'no answer'}{why}"


def maintenance(release: Release) -> Sequence[Check]:
    """Gate 5: the command of maintenance, and integrity after it."""
    words = release.closing.maintenance or _pruning(release)
    before, _ = databases.find(_names_of_databases(release))
    done = subprocess.run(words, capture_output=True, text=True, timeout=MAINTENANCE_TIMEOUT, check=False)
    said = Redactor().text((done.stderr.strip() or done.stdout.strip())[-LAST_WORDS:])
    checks = [
        Check(f"`{' '.join(words)}` ends with 0", done.returncode == 0, f"{done.returncode}: {said}".rstrip(": "))
    ]
    after, missing = databases.find(_names_of_databases(release))
    checks += [Check(f"{name} is there after it", holds=False) for name in missing]
    return [*checks, *_sound(sorted({*before, *after})), *map(_verified, release.evidence)]


def _pruning(release: Release) -> tuple[str, ...]:
    root = next((root for root in release.evidence if (root / HEADS).is_file()), None)
    if root is None:
        raise NotApplicable("no maintenance is named, and there is no evidence of runs to prune")
    return (sys.executable, "-m", "vx11", "evidence", "prune", str(root))


def _verified(root: Path) -> Check:
    """A chain that goes on, as madre's does, is not sealed to its end; that is no fault."""
    report = audit.check(root, audit.Trust.of(root, ()))
    wrong = "; ".join(map(str, report.findings[:MOST]))
    return Check(f"the evidence in {root} verifies", report.state is not State.TAMPERED, wrong or report.state.value)


def single_entrypoint(release: Release) -> Sequence[Check]:
    """Gate 6: what answers where others connect from."""
    here = core.is_here(release.host)
    can = here and netns.available()
    if not can and not release.closing.outside:
        why = "this user may not make a network namespace" if here else "the entry is on another machine"
        raise NotApplicable(f"{why}, and no address to connect to is named as `outside`")
    allowed = {release.port, *release.closing.management_ports}
    checks = list(_from_a_network_of_its_own(release, allowed)) if can else []
    for seen in release.closing.outside:
        answers = [port for port in sorted({release.port, *seen.ports}) if outside.answered([seen.address], port)]
        checks.append(Check(f"the entry answers at {seen.address}:{release.port}", release.port in answers))
        tried = [port for port in seen.ports if port not in allowed]
        checks += [Check(f"{seen.address}:{port} does not answer", port not in answers) for port in tried]
    return checks


def _from_a_network_of_its_own(release: Release, allowed: set[int]) -> Iterable[Check]:
    answers = outside.answering(outside.listeners())
    entry = [where for one, where in answers.items() if one.port == release.port and where]
    yield Check(f"the entry answers from outside at port {release.port}", bool(entry), ", ".join(entry))
    for one, where in answers.items():
        if one.port not in allowed:
            yield Check(f"{one} does not answer from outside", not where, f"it answers at {where}" if where else "")


def flags(release: Release) -> Sequence[Check]:
    """Gate 7: what the core's processes were started with, and our own environment."""
    checks = list(_off("this environment", os.environ, release))
    seen = [(part, part.environment()) for part in core.parts(release)]
    for part, environment in seen:
        if environment is not None:
            checks += _off(f"{part.name} (process {part.pid})", environment, release)
    if not any(environment is not None for _, environment in seen) and all(check.holds for check in checks):
        why = "may not be looked at by this user" if seen else "cannot be found on this machine"
        raise NotApplicable(f"the core's processes {why}; in this environment all of them are off")
    return checks


def _off(whose: str, environment: Any, release: Release) -> Iterable[Check]:
    for name in release.closing.flags:
        value = environment.get(name, "")
        yield Check(f"{name} is off in {whose}", value.lower() in OFF, "" if value.lower() in OFF else "it is on")


def degraded(release: Release) -> Sequence[Check]:
    """Gate 8: in SOLO_MADRE, which is proved first, questions are answered all the same."""
    proof = release.madre.solo_madre(dry_run=True)
    runs = [f"{item['what']} {item['service'] or ''}".rstrip() for item in (*proof["left"], *proof["foreign"])]
    solo = Check("the host is in SOLO_MADRE", bool(proof["solo_madre"]), ", ".join(runs))
    return [solo, *(_fallback(release, message) for message in QUESTIONS)] if solo.holds else [solo]


def _fallback(release: Release, message: str) -> Check:
    status, said = _ask(release, message)
    seen = (status, said.get("degraded"), said.get("fallback_source"))
    detail = f"{_short(status, said)}, degraded {seen[1]}, fallback_source {seen[2]}"
    return Check(f"“{message}” is answered with 200, degraded, by {FALLBACK}", seen == (200, True, FALLBACK), detail)


GATES = (
    Gate(1, "database integrity", "restore the file from a backup that passes, then look for what broke it", integrity),
    Gate(2, "health of the core", "start what does not answer, and read its log", health, asks=True),
    Gate(
        3,
        "no secret in code or history",
        "change the secret where it is valid, then take it out of the tree and its history; what is none, "
        f"judge with detect-secrets audit in {secrets.BASELINE}",
        no_secrets,
    ),
    Gate(
        4,
        "the operator endpoint answers",
        "read madre's log; the token needs the scope operator:chat",
        operator,
        asks=True,
    ),
    Gate(5, "maintenance leaves integrity intact", "run the command by hand, and restore what it broke", maintenance),
    Gate(
        6,
        "a single entrypoint",
        "have what answers listen on 127.0.0.1, or close it by the firewall",
        single_entrypoint,
    ),
    Gate(7, "flags that must be off are off", "unset the variable where the process is started, and restart it", flags),
    Gate(
        8, "degraded fallback in SOLO_MADRE", "close what is open (vx11 solo-madre), and ask again", degraded, asks=True
    ),
)
