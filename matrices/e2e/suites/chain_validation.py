"""TC-006: service-c asks service-b, and that one service-a.

An instance is made up by each service as it starts, so an answer with the instance of the lowest went all the way.
"""

from collections.abc import Callable
from typing import Any

import pytest

CHAIN = ["service-c", "service-b", "service-a"]


def ask(window: Callable[[str], Any], service: str, path: str) -> Any:
    """What a service of the chain answers."""
    return window(service).http.get(path).raise_for_status().json()


@pytest.mark.parametrize("top", range(len(CHAIN)), ids=CHAIN)
def test_each_asks_the_one_below(window: Callable[[str], Any], top: int) -> None:
    identities = [ask(window, name, "/identity") for name in CHAIN[top:]]
    assert [identity["service"] for identity in identities] == CHAIN[top:]
    assert ask(window, CHAIN[top], "/chain") == {"chain": identities}
