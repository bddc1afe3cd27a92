"""The diagrams contract: how the parts of a host fit together, line by line, each checked against what runs."""

from collections.abc import Mapping
from dataclasses import dataclass

from vx11.release.baseline import Running
from vx11.release.verdicts import Outcome, Result

HOLDS = {Outcome.PASSED: True, Outcome.FAILED: False, Outcome.NOT_APPLICABLE: None}
ARROWS = {True: "-->", False: "--x", None: "-.->"}


@dataclass(frozen=True)
class Line:
    """One line of the diagram.

    Attributes:
        holds: None when it was not measured.
        seen: what it was measured by.
    """

    source: str
    target: str
    label: str
    holds: bool | None
    seen: str

    @property
    def arrow(self) -> str:
        """As Mermaid draws it: whole, crossed where it does not hold, dotted where it was not measured."""
        return ARROWS[self.holds]


def lines(running: Running, results: Mapping[int, Result]) -> list[Line]:
    """The contract, and what of it holds."""
    told = running.told or {}
    said = running.why or "madre's status"
    open_now = ", ".join(str(window["service"]) for window in told.get("windows", ())) or "nothing is open"
    return [
        Line("outside", "entry", "only this port answers", *_by_gate(results.get(6))),
        Line("entry", "madre", "passes the power API on", running.told is not None, said),
        Line("watchdog", "windows", "closes what is overdue", bool(told.get("watchdog")), said),
        Line("madre", "windows", "none is open", bool(told.get("solo_madre")), f"{said}: {open_now}" if told else said),
        Line("operator", "entry", "answered without a language service", *_by_gate(results.get(8))),
        Line("madre", "evidence", "intact after maintenance", *_by_gate(results.get(5))),
    ]


def _by_gate(result: Result | None) -> tuple[bool | None, str]:
    if result is None:
        return None, "its gate was not looked at"
    return HOLDS[result.outcome], f"gate {result.number}: {result.reason or 'passed'}"
