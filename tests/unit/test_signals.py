"""Names of signals as Compose files and images write them."""

import signal

import pytest

from vx11 import signals


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("SIGTERM", 15),
        ("TERM", 15),
        ("15", 15),
        ("SIGUSR1", signal.SIGUSR1),
        ("QUIT", 3),
        ("SIGRTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("RTMAX-1", signal.SIGRTMAX - 1),
        ("SIGRTMIN+30", signal.SIGRTMAX),
    ],
)
def test_a_signal_by_any_of_its_names(name: str, number: int) -> None:
    assert signals.number(name) == number


@pytest.mark.parametrize(
    "name", ["", "SIG", "SIGNOTHING", "term", "0", "-9", "1000", "9.5", "SIGRTMIN+31", "RTMAX+1", "RTMIN-1", "RTMIN+x"]
)
def test_what_is_no_signal_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="there is no signal"):
        signals.number(name)
