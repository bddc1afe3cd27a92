"""Errors carry sentences, and all of them at once."""

from pathlib import Path

import pytest

from vx11.errors import InputError, Problem

FILE = Path("conf/catalogue.yml")


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("is missing"), "is missing"),
        (Problem("is missing", FILE), "conf/catalogue.yml: is missing"),
        (Problem("is missing", FILE, 7), "conf/catalogue.yml:7: is missing"),
    ],
)
def test_a_problem_says_where_it_is(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_an_input_error_shows_every_problem_on_a_line_of_its_own() -> None:
    error = InputError(Problem(f"wrong {number}", FILE, number) for number in (1, 2))
    assert str(error).splitlines() == ["conf/catalogue.yml:1: wrong 1", "conf/catalogue.yml:2: wrong 2"]
    assert [problem.line for problem in error.problems] == [1, 2]
    assert str(InputError.of("wrong", FILE, 3)) == "conf/catalogue.yml:3: wrong"
