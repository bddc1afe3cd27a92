"""What madre looks at by herself (specification §2 and §3): the files she goes by, SOLO_MADRE, and the entry."""

from collections.abc import Callable, Mapping

import httpx

from vx11.engines.port import EngineError
from vx11.madre.lookout import Watched
from vx11.windows import solo_madre
from vx11.windows.manager import Windows

# Seconds; and how often the entry is asked again before it counts as silent.
REREAD_EVERY, VERIFY_EVERY = 300.0, 60.0
HEALTH, HEALTH_EVERY, HEALTH_TIMEOUT, HEALTH_RETRIES = "/health", 30.0, 3.0, 2


def files(look: Callable[[], Mapping[str, str]]) -> Watched:
    """The files: they are looked at for every open and every token, too; this tells before anybody asks."""
    about = "What is wrong with the files madre goes by"
    return Watched(look, REREAD_EVERY, "files", "files_reread", "vx11_file_problems", about)


def solo(windows: Windows) -> Watched:
    """That nothing runs but the core while no window is open."""

    def look() -> dict[str, str]:
        if windows.windows():
            return {}
        try:
            proof = solo_madre.check(windows)
        except EngineError as error:
            return {"engine": f"SOLO_MADRE cannot be verified: {error}"}
        runs = [*(item.what for item in proof.unaccounted), *(item.what for item in proof.foreign)]
        return {} if proof.windows else {what: f"the host is not in SOLO_MADRE: {what} runs" for what in runs}

    about = "What runs though no window is open"
    return Watched(look, VERIFY_EVERY, windows.cell, "solo_madre_verified", "vx11_solo_madre_deviations", about)


def entry(url: str) -> Watched:
    """That tentaculo_link answers, and leads to madre.

    Args:
        url: where it answers on this host.
    """

    def answers() -> str:
        try:
            # Whose certificate it is, is for its clients to check; a name may lead elsewhere from here.
            found = httpx.get(f"{url.rstrip('/')}{HEALTH}", timeout=HEALTH_TIMEOUT, verify=False)  # noqa: S501
        except httpx.HTTPError as error:
            return str(error) or type(error).__name__
        return "" if found.status_code == httpx.codes.OK else f"it answers {found.status_code}"

    def look() -> dict[str, str]:
        why = ""
        for _ in range(1 + HEALTH_RETRIES):
            why = answers()
            if not why:
                return {}
        return {"tentaculo_link": f"tentaculo_link does not answer at {url}: {why}"}

    about = "Whether the entry does not answer"
    # At first she does not serve, so that it leads nowhere.
    return Watched(look, HEALTH_EVERY, "tentaculo_link", "entry_checked", "vx11_entry_problems", about, at_once=False)
