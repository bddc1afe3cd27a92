"""docs/intents.md has the rules as they are."""

from pathlib import Path

import pytest

from vx11.recovery.rules import RULES, Rule
from vx11.recovery.sign import MEANINGS

DOCS = Path(__file__).resolve().parents[3] / "docs" / "intents.md"


def row(rule: Rule) -> str:
    def told(weights: dict[str, float]) -> str:
        return ", ".join(f"`{name}` {weight:+g}" for name, weight in sorted(weights.items(), key=lambda item: -item[1]))

    against = {name: weight for name, weight in rule.others.items() if weight < 0}
    beside = {name: weight for name, weight in rule.others.items() if weight > 0}
    cells = [f"`{rule.name}`", rule.kind.value, f"{rule.prior:+g}", told(dict(rule.opens)), told(beside), told(against)]
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_a_rule_stands_there_with_its_weights(rule: Rule) -> None:
    assert row(rule) in DOCS.read_text(encoding="utf-8").splitlines()


def test_no_rule_stands_there_that_there_is_not() -> None:
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith("| `") and line.count("|") == 7 for line in lines) == len(RULES)


def test_each_sign_is_explained() -> None:
    used = {name for rule in RULES for name in (*rule.opens, *rule.others)}
    assert used == MEANINGS.keys()
    text = DOCS.read_text(encoding="utf-8")
    missing = [name for name, meaning in MEANINGS.items() if f"| `{name}` | {meaning} |" not in text]
    assert missing == []
