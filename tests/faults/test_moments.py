"""madre is killed at random moments inside opens and closes: nothing is left, nothing is forgotten or closed twice."""

import contextlib
import random
import threading
from collections.abc import Callable, Iterator

from .scene import FULL, Enforcer, Scene, Unanswered, pause

TTL = 4.0
OPENED, CLOSED = ("a", "b", "c"), ("d", "e")
# An open or a close takes no longer, as a rule; some kills fall after them.
WITHIN = 0.5


def test_madre_killed_inside_opens_and_closes(
    stage: Callable[..., Scene], enforcer: Enforcer, seed: int, dice: random.Random
) -> None:
    scene = stage(*OPENED, *CLOSED, enforcer=enforcer)
    rounds = {"watchdog": 25}.get(enforcer, 100) if FULL else 2
    for _ in range(rounds):
        for service in CLOSED:
            scene.open(service, ttl=TTL)
        with _calls(scene):
            pause(dice.uniform(0, WITHIN))
            scene.kill("madre")
        if enforcer == "watchdog":
            scene.await_nothing_runs()
        scene.start("madre")
        scene.await_solo()
    scene.kept(f"seed {seed}")


@contextlib.contextmanager
def _calls(scene: Scene) -> Iterator[None]:
    """Three opens and two closes at the same time; they have ended, most without an answer, after the block."""

    def call(number: int) -> None:
        with contextlib.suppress(Unanswered):
            if number < len(OPENED):
                scene.try_open(OPENED[number], ttl=TTL)
            else:
                scene.try_close(CLOSED[number - len(OPENED)])

    callers = [threading.Thread(target=call, args=(number,)) for number in range(len(OPENED) + len(CLOSED))]
    for caller in callers:
        caller.start()
    try:
        yield
    finally:
        for caller in callers:
            caller.join()
