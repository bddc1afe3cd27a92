"""Actions in all the forms that matrices write them, and what is said about those that are wrong."""

from typing import Any

import pytest
import yaml

from vx11.conductor import actions
from vx11.conductor.actions import Breaks, Closes, Opens, Params, Releases, Resources, RunsSuite, Waits


def steps(text: str) -> list[Any]:
    found = actions.read(yaml.safe_load(text))
    assert not found.wrong
    return list(found.steps)


def told(text: str) -> list[tuple[tuple[Any, ...], str]]:
    found = actions.read(yaml.safe_load(text))
    return [(wrong.at, wrong.message) for wrong in found.wrong]


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("- open_window: web", Opens(("web",))),
        ("- open_window: web\n  params: {ttl: 30s, hold: true}", Opens(("web",), Params(ttl=30.0, hold=True))),
        ("- open_window: [web, db]\n  params: {ttl: 60}", Opens(("web", "db"), Params(ttl=60.0))),
        (
            "- open_window: web\n  params: {resources: {cpu: 0.5, memory: 1g}}",
            Opens(("web",), Params(resources=Resources(cpu=0.5, memory=1024**3))),
        ),
        ("- attempt_open: web", Opens(("web",), attempt=True)),
        ("- attempt_open: web\n  params: {ttl: 5m}", Opens(("web",), Params(ttl=300.0), attempt=True)),
        ("- close_window: web", Closes("web")),
        ("- close_window: web\n  force: true", Closes("web", force=True)),
        ("- release_hold: web", Releases("web")),
        ("- e2e_test: basics", RunsSuite("basics")),
        ("- e2e_test: basics\n  steps: [one, two]", RunsSuite("basics", ("one", "two"))),
        ("- wait: 35s", Waits(35.0)),
        ("- wait: 35", Waits(35.0)),
        ("- parallel:\n  - a: open_window(web)\n  - b: open_window( db )", Opens(("web", "db"))),
        ("- parallel: [{a: open_window(web)}]", Opens(("web",))),
    ],
)
def test_each_verb_in_each_form(text: str, step: Any) -> None:
    assert steps(text) == [step]


def test_a_throttle_is_for_what_is_opened_after_it() -> None:
    found = steps("""
        - open_window: early
        - set_throttle: {cpu: 0.5, memory: 256MB, iops: 100}
        - open_window: web
        - open_window: db
          params: {resources: {cpu: 2}}
    """)
    limits = [step.params.resources.given() for step in found]
    throttle = {"cpu": 0.5, "memory": 256 * 1024**2, "iops": 100}
    assert limits == [{}, throttle, throttle | {"cpu": 2}]


def test_a_failure_is_expected_of_the_suite_before() -> None:
    assert steps("[{e2e_test: one}, {e2e_test: two}, {expect_failure: true}]") == [
        RunsSuite("one"),
        RunsSuite("two", expect_failure=True),
    ]
    assert steps("[{e2e_test: one}, {expect_failure: false}]") == [RunsSuite("one")]


@pytest.mark.parametrize(
    "how", ["close_window (mid-operation)", "close_window", "close_window(web)", "close_window(web) (mid-operation)"]
)
def test_an_interrupt_closes_the_window_of_the_suite_before(how: str) -> None:
    text = f"[{{open_window: web}}, {{e2e_test: upload}}, {{interrupt: '{how}'}}]"
    assert steps(text)[1:] == [RunsSuite("upload", interrupt="web")]


def test_a_failure_is_forced_on_all_that_is_open_and_its_suite_looks_again() -> None:
    found = steps("""
        - open_window: [web, db]
        - close_window: db
        - e2e_test: basics
        - force_failure: network_partition
    """)
    assert found[-2:] == [Breaks("network_partition", ("web",)), RunsSuite("basics", after="force_failure")]
    assert steps("[{open_window: web}, {force_failure: kill}]")[1:] == [Breaks("kill", ("web",))]


def test_the_suite_of_a_case_runs_last_unless_an_action_runs_one() -> None:
    assert actions.read([{"open_window": "web"}], "own").steps[-1] == RunsSuite("own")
    assert actions.read([{"e2e_test": "other"}], "own").steps == (RunsSuite("other"),)


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("[{explode: web}]", (0,), "explode is not an action; there are: open_window"),
        ("[wait]", (0,), "'wait' is not an action; write a map"),
        ("[{}]", (0,), "an empty action is not an action"),
        ("[{open_window: 5}]", (0, "open_window"), "has to be a list"),
        ("[{open_window: []}]", (0, "open_window"), "Value should have at least 1 item"),
        ("[{open_window: [web, web]}]", (0,), "web stands twice"),
        ("[{open_window: web, parms: {}}]", (0, "parms"), "open_window has no parms; beside it there may be: params"),
        ("[{wait: 3s, force: true}]", (0, "force"), "wait has no force"),
        ("[{open_window: web, params: {ttl: soon}}]", (0, "params", "ttl"), "'soon' is not a duration"),
        ("[{open_window: web, params: {ttl: 0}}]", (0, "params", "ttl"), "has to be greater than 0"),
        ("[{open_window: web, params: {tll: 5}}]", (0, "params", "tll"), "unknown key"),
        ("[{wait: never}]", (0, "wait"), "'never' is not a duration"),
        ("[{set_throttle: {cpu: -1}}]", (0, "set_throttle", "cpu"), "has to be greater"),
        ("[{set_throttle: {ram: 1}}]", (0, "set_throttle", "ram"), "unknown key"),
        ("[{e2e_test: ../x}]", (0, "e2e_test"), "'../x' does not match"),
        ("[{e2e_test: x, steps: one}]", (0, "steps"), "steps is not a list of names"),
        ("[{close_window: web, force: 1}]", (0, "force"), "force is 1, not true or false"),
        ("[{expect_failure: true}]", (0, "expect_failure"), "expect_failure is about the suite before it"),
        ("[{interrupt: close_window}]", (0, "interrupt"), "interrupt is about the suite before it"),
        ("[{open_window: web}, {e2e_test: x}, {interrupt: stop}]", (2, "interrupt"), "'stop' is not close_window"),
        (
            "[{open_window: [web, db]}, {e2e_test: x}, {interrupt: close_window}]",
            (2, "interrupt"),
            "it has to say which window, as in close_window(SERVICE): there are open web, db",
        ),
        ("[{force_failure: network_partition}]", (0, "force_failure"), "no window is open that could fail"),
        (
            "[{open_window: web}, {force_failure: flood}]",
            (1, "force_failure"),
            "has to be 'network_partition', 'pause' or 'kill'",
        ),
        ("[{parallel: [{a: close(web)}]}]", (0, "parallel", 0), "it is not one label with open_window(SERVICE)"),
        ("[{parallel: [{a: open_window(x), b: open_window(y)}]}]", (0, "parallel", 0), "it is not one label"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, at: tuple[Any, ...], message: str) -> None:
    assert [(where, said[: len(message)]) for where, said in told(text)][:1] == [(at, message)]


def test_all_mistakes_are_told_at_once() -> None:
    assert [at for at, _ in told("[{explode: 1}, {wait: x}, {open_window: web, params: {ttl: x, tll: 1}}]")] == [
        (0,),
        (1, "wait"),
        (2, "params", "ttl"),
        (2, "params", "tll"),
    ]


def test_what_an_engine_has_to_be_able_to_do() -> None:
    text = """
        - set_throttle: {cpu: 0.5, memory: 256MB, iops: 100}
        - open_window: web
        - force_failure: network_partition
    """
    found = actions.read(yaml.safe_load(text))
    assert found.requires() == {"limits.cpu", "limits.memory", "limits.iops", "partition"}
    assert actions.read(yaml.safe_load("[{open_window: web}, {force_failure: kill}]")).requires() == set()


def test_waits_and_times_to_live_are_scaled_alike() -> None:
    found = actions.read(yaml.safe_load("[{open_window: web, params: {ttl: 30s}}, {open_window: db}, {wait: 35s}]"))
    first, second, third = found.scaled(0.1)
    assert (first.params.ttl, second.params.ttl, third.seconds) == (3.0, None, 3.5)  # type: ignore[union-attr]


def test_services_that_have_to_be_known_are_named_with_their_place() -> None:
    found = actions.read(yaml.safe_load("[{open_window: [web, db]}, {attempt_open: ghost}, {close_window: web}]"))
    assert found.named == (((0,), "web"), ((0,), "db"), ((2,), "web"))
