"""How tests take turns where several workers run side by side.

Most run beside anything. A test that is `busy` keeps a machine busy: two of them run at a time, however many workers
there are. One about `moments` has no busy one beside it, one that is to be `alone` nothing at all.
"""

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

PLACES = 2
KEY = "vx11_turns"


def register(config: pytest.Config) -> None:
    """Makes the tests of this session take turns; where there are no workers, each has its own anyway."""
    given = getattr(config, "workerinput", None)
    if given is not None:
        number = int(given["workerid"].removeprefix("gw"))
        config.pluginmanager.register(_Worker(Path(given[KEY]), number))
    elif config.pluginmanager.has_plugin("xdist"):
        config.pluginmanager.register(_Controller())


class _Controller:
    """Makes the folder of the locks, and removes it."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="vx11-turns-")

    @pytest.hookimpl
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[KEY] = self._folder

    def pytest_unconfigure(self) -> None:
        shutil.rmtree(self._folder)


class _Worker:
    """Lets each test wait for its turn.

    Who has a lock of the machine waits for nothing more, so that two never wait for each other.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._folder = folder
        self._place = number % PLACES

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        places: tuple[int, ...] = ()
        if item.get_closest_marker("moments"):
            places = tuple(range(PLACES))
        elif item.get_closest_marker("busy"):
            places = (self._place,)
        with self._turn(places, alone=item.get_closest_marker("alone") is not None):
            return (yield)

    @contextlib.contextmanager
    def _turn(self, places: tuple[int, ...], *, alone: bool) -> Iterator[None]:
        with contextlib.ExitStack() as held:
            for place in () if alone else places:
                held.enter_context(self._locked(f"place-{place}", fcntl.LOCK_EX))
            # Whoever waits for the whole machine keeps the gate shut, so that no others go in before.
            with contextlib.ExitStack() as gate:
                gate.enter_context(self._locked("gate", fcntl.LOCK_EX))
                held.enter_context(self._locked("machine", fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
            yield

    @contextlib.contextmanager
    def _locked(self, name: str, how: int) -> Iterator[IO[str]]:
        with (self._folder / name).open("w") as file:
            fcntl.flock(file, how)
            yield file
