"""TC-012: service-x and service-y work at the same time as each does alone: neither waits for the other, sees what is
the other's, or comes to other results.

Contention is a request that was refused, failed, got no answer in time, or had to wait for a lock that another program
held. That both are slower together, on a machine with few processors, is none.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

NAMES = ("service-x", "service-y")
CALLERS = 2
JOBS = 8
REPEATS = 3
# Some 10 ms of a processor: long enough that two services at work at the same time meet at whatever they share.
ROUNDS = 15_000
PATIENCE_S = 20.0

Json = dict[str, Any]
Services = dict[str, httpx.Client]


@pytest.fixture
def services(window: Callable[[str], Any]) -> Services:
    """A client of each."""
    return {name: window(name).http for name in NAMES}


@pytest.fixture
def run() -> str:
    """What marks the jobs of one test; the services may have others from before."""
    return secrets.token_hex(4)


def ask(service: httpx.Client, job: str, seed: str) -> Json | None:
    """The answer to a job; None when there was none as there should be."""
    try:
        body = {"id": job, "seed": seed, "rounds": ROUNDS}
        answer = service.post("/jobs", json=body, timeout=PATIENCE_S)
    except httpx.HTTPError:
        return None
    return answer.json() if answer.status_code == 200 else None


def together(services: Services, jobs: Callable[[str, int], tuple[str, str]]) -> dict[str, list[Json | None]]:
    """The answers of each service, all asked at the same time; `jobs` gives id and seed for a name and a number."""
    work = [(name, *jobs(name, number)) for number in range(JOBS) for name in services]
    with ThreadPoolExecutor(CALLERS * len(services)) as callers:
        answers = list(callers.map(lambda each: ask(services[each[0]], *each[1:]), work))
    return {name: [answer for each, answer in zip(work, answers, strict=True) if each[0] == name] for name in services}


def contended(answers: Sequence[Json | None]) -> int:
    """How many of these requests were contended for."""
    return sum(1 for answer in answers if answer is None or answer["held_up"])


def digest(seed: str) -> str:
    """What a seed has to give."""
    found = seed.encode()
    for _ in range(ROUNDS):
        found = hashlib.sha256(found).digest()
    return found.hex()


def test_neither_waits_for_the_other(
    services: Services, run: str, observe: Callable[..., None], metric: Callable[..., None]
) -> None:
    alone = {name: [ask(services[name], f"{run}-alone", "alone")] for name in NAMES}
    both = together(services, lambda name, number: (f"{run}-{number}", f"{name} {number}"))
    count = sum(contended(answers) for answers in (*alone.values(), *both.values()))
    metric("contention_count", count, "requests")
    observe("no_resource_contention", count == 0)
    assert count == 0, f"{count} of {sum(map(len, (*alone.values(), *both.values())))} requests were contended for"


def test_neither_sees_what_is_the_others(services: Services, run: str, observe: Callable[..., None]) -> None:
    # The first job has the same id in both, and another seed.
    did = together(
        services, lambda name, number: (f"{run}-{name}-{number}" if number else f"{run}-both", f"{name} {number}")
    )
    who = {name: services[name].get("/whoami").json() for name in NAMES}
    seen = {
        "their jobs": all(only_its_own(services[name], did[name], run) for name in NAMES),
        "the other's job is unknown": all(knows_not(services, name, run) for name in NAMES),
        "processes": who[NAMES[0]]["process"] != who[NAMES[1]]["process"],
        "folders": who[NAMES[0]]["folder"] != who[NAMES[1]]["folder"],
        "files": all(not foreign_files(who[name]["files"], name, run) for name in NAMES),
    }
    observe("isolation_maintained", all(seen.values()))
    assert all(seen.values()), seen


def only_its_own(service: httpx.Client, did: Sequence[Json | None], run: str) -> bool:
    """Whether the jobs of this test that a service has are those it did, with the results that it answered."""
    found = {job: result for job, result in service.get("/jobs").json()["jobs"].items() if job.startswith(run)}
    return found == {answer["id"]: answer["digest"] for answer in did if answer}


def knows_not(services: Services, name: str, run: str) -> bool:
    """Whether a service knows no job of the other one."""
    (other,) = (each for each in NAMES if each != name)
    return services[name].get(f"/jobs/{run}-{other}-1").status_code == 404


def foreign_files(files: Sequence[str], name: str, run: str) -> list[str]:
    """Files of this test in a service's folder that are not its own."""
    own = (f"{run}-{name}-", f"{run}-both")
    return [file for file in files if file.startswith(run) and not file.startswith(own)]


def test_the_same_work_gives_the_same_results(services: Services, run: str, observe: Callable[..., None]) -> None:
    expected = [digest(f"seed {number}") for number in range(JOBS)]
    rounds = [together(services, lambda _, number: (f"{run}-{number}", f"seed {number}")) for _ in range(REPEATS)]
    found = [[answer and answer["digest"] for answer in answers] for each in rounds for answers in each.values()]
    wrong = sum(digests != expected for digests in found)
    observe("results_deterministic", wrong == 0)
    assert wrong == 0, f"{wrong} of {len(found)} rounds gave other results than the seeds should"
