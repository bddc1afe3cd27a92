"""Twenty clients open and close the same five services at random, while madre is killed again and again."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from .scene import FULL, Enforcer, Scene, Unanswered, pause

CLIENTS = 20
SERVICES = ("a", "b", "c", "d", "e")
THINKS = 4.0
# What a client may hear when others close what it opens, or open what it closes; all else is a defect.
HEARD = {
    "open": {(200, ""), (502, "open_failed"), (409, "window_stuck")},
    "close": {(200, ""), (404, "no_window")},
}


@pytest.mark.parametrize("enforcer", ["both", "madre"] if FULL else ["both"])
def test_a_crowd_while_madre_dies(
    stage: Callable[..., Scene], enforcer: Enforcer, seed: int, dice: random.Random
) -> None:
    scene = stage(*SERVICES, enforcer=enforcer)
    lasts, kills = (60.0, 10) if FULL else (10.0, 2)
    end = scene.moment_after(lasts)
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(_client, scene, random.Random(f"{seed}-{number}"), end) for number in range(CLIENTS)]
        try:
            for number in range(kills):
                pause(dice.uniform(0, max(0.0, scene.seconds_to(end)) / (kills - number)))
                scene.kill("madre")
                scene.start("madre")
        finally:
            odd = [heard for client in clients for heard in client.result()]
    assert not odd, f"seed {seed}: {odd}"
    assert scene.ledger.promises
    scene.kept(f"seed {seed}")


def _client(scene: Scene, dice: random.Random, end: float) -> list[tuple[str, int, str]]:
    """One client; answers what it heard that it should not have."""
    odd = []
    while scene.seconds_to(end) > 0:
        service, opens = dice.choice(SERVICES), dice.random() < 0.75
        what = "open" if opens else "close"
        try:
            if opens:
                answer = scene.try_open(service, ttl=dice.uniform(0.5, 5))
            else:
                pause(dice.uniform(0, THINKS))  # else closes, which are quick, would outrun opens
                answer = scene.try_close(service, force=dice.random() < 0.2)
        except Unanswered:
            scene.await_madre()
            continue
        heard = (answer.status_code, "" if answer.status_code == 200 else answer.json()["code"])
        if heard not in HEARD[what]:
            odd.append((what, answer.status_code, answer.text))
    return odd
