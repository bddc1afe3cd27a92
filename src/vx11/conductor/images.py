"""Images are built before the cases, so that no case waits for a build."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from functools import partial

from vx11.catalogue.compose import Service
from vx11.engines.docker import DockerEngine
from vx11.engines.port import Engine
from vx11.errors import Vx11Error

LOOK = 0.2


class Cancelled(Vx11Error):
    """Somebody stopped the run while it prepared."""


def prepare(
    engine: Engine, services: Sequence[Service], note: Callable[[str], None], cancelled: threading.Event
) -> None:
    """Builds what has to be built, each image once, and makes sure that there is what has not.

    Raises:
        Cancelled: somebody stopped the run.
        EngineError: there is no image, or no program.
    """
    built: set[str] = set()
    for service in services:
        if cancelled.is_set():
            return
        if isinstance(engine, DockerEngine) and service.entry.build:
            image = engine.image_of(service)
            if image not in built:
                note(f"building {image}")
                _unless_cancelled(partial(engine.build, service, partial(_built, note, cancelled)), cancelled)
                built.add(image)
        else:
            _unless_cancelled(partial(engine.prepare, service), cancelled)


def _unless_cancelled(work: Callable[[], None], cancelled: threading.Event) -> None:
    """Does it, and does not wait for it any more when somebody stops the run.

    A step of a build may say nothing for minutes. The daemon ends a build when nobody listens to it any more, which
    is at its next line, or when this process ends.
    """
    done: Future[None] = Future()

    def do() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=do, name="prepare", daemon=True).start()
    while not wait([done], LOOK).done:
        if cancelled.is_set():
            raise Cancelled("interrupted while an image was made ready")
    done.result()


def _built(note: Callable[[str], None], cancelled: threading.Event, line: str) -> None:
    if cancelled.is_set():
        raise Cancelled("interrupted while an image was built")
    if line.startswith("Step "):
        note(f"  {line}")
