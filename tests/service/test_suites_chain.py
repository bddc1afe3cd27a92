"""The suite of TC-006: a chain is asked to its end, and an answer that was made up on the way is seen."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.service.suites import Stage
from vx11.client import MadreRefused

SUITE = "chain_validation"


def test_a_sound_chain_answers_to_its_end(each_stage: Stage) -> None:
    each_stage.open("service-c")
    ran = each_stage.run(SUITE)
    assert ran.passed, ran.output


@pytest.mark.parametrize("service", ["service-b", "service-c"])
def test_an_answer_that_was_made_up_is_seen(stage: Stage, service: str) -> None:
    stage.set_bugs({service: "breaks_chain"})
    stage.open("service-c")
    assert not stage.run(SUITE).passed


def test_nothing_opens_over_what_is_not_healthy(stage: Stage, eventually: Callable[..., Any]) -> None:
    stage.set_bugs({"service-a": "unhealthy"})
    with pytest.raises(MadreRefused, match="service-a was not ready"):
        stage.open("service-c")
    eventually(lambda: not stage.madre.status()["windows"])
