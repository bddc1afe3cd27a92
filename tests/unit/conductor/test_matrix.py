"""A matrix is checked whole before anything starts: every mistake, with its file and line, at once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vx11.catalogue import allowlist, compose
from vx11.conductor import matrix
from vx11.conductor.collection import Collection
from vx11.conductor.expected import Expected
from vx11.conductor.matrix import BASE_ASSERTS, Matrix
from vx11.errors import InputError

Write = Callable[[str, str], Path]
Load = Callable[[str], Matrix]
TRUE = Expected("==", True, None, "true")

GOOD = """\
test_matrix:
  cases:
    - id: TC-001
      description: One window
      services: [web]
      playbook: own.yml
      timeout: 2m
      requires: [limits.cpu]
      actions:
        - open_window: web
          params: {ttl: 30s}
        - wait: 35s
      asserts:
        - window_auto_closed: true
        - memory_delta_mb: < 50
      metrics: [startup_time_ms]
    - {id: TC-002, playbook: vx11.power.cases.tc_002}
"""


@pytest.fixture
def collection(write: Write, tmp_path: Path) -> Collection:
    write("collection/playbooks/cases/tc_002.yml", "[]\n")
    return Collection(tmp_path / "collection", "checkout")


@pytest.fixture
def load(write: Write, collection: Collection) -> Load:
    """`load(text)` reads a matrix beside a sound catalogue, allowlist and playbook."""
    catalogue = write("bundle/catalogue.yml", "services:\n  web: {image: one}\n  db: {image: two}\n")
    allowlist.update(catalogue.with_name("allowlist.yml"), compose.load(catalogue), ["web"])
    write("bundle/own.yml", "[]\n")
    return lambda text: matrix.load(write("bundle/matrix.yml", text), collection)


def told(load: Load, text: str) -> list[tuple[int | None, str]]:
    """Line and message of each problem."""
    with pytest.raises(InputError) as refused:
        load(text)
    assert all(problem.path and problem.path.name == "matrix.yml" for problem in refused.value.problems)
    return [(problem.line, problem.message) for problem in refused.value.problems]


def case(text: str) -> str:
    """A matrix of one case; what is given starts at line 5."""
    return f"test_matrix:\n  cases:\n    - id: TC-001\n      playbook: own.yml\n      {text}\n"


def test_a_sound_matrix(load: Load, tmp_path: Path) -> None:
    found = load(GOOD)
    first, second = found.cases
    assert (first.id, first.description, first.services) == ("TC-001", "One window", ("web",))
    assert (first.playbook, first.timeout) == (tmp_path / "bundle/own.yml", 120.0)
    assert (first.requires, first.metrics) == (("limits.cpu",), ("startup_time_ms",))
    assert first.asserts == dict.fromkeys(BASE_ASSERTS, TRUE) | {
        "window_auto_closed": TRUE,
        "memory_delta_mb": Expected("<", 50.0, "MB", "< 50"),
    }
    assert second.playbook == tmp_path / "collection/playbooks/cases/tc_002.yml"
    assert (second.timeout, set(second.asserts)) == (300.0, set(BASE_ASSERTS))
    assert found.folder == tmp_path / "bundle"
    assert set(found.catalogue.services) == {"web", "db"}
    assert set(found.allowlist.digests) == {"web"}


def test_a_folder_stands_for_its_matrix(load: Load, collection: Collection, tmp_path: Path) -> None:
    load(GOOD)
    assert matrix.load(tmp_path / "bundle", collection).path == tmp_path / "bundle/matrix.yml"


def test_base_asserts_may_be_fewer(load: Load) -> None:
    text = "test_matrix:\n  base_asserts: [no_resource_leaks]\n  cases: [{id: a, playbook: own.yml}]\n"
    assert load(text).cases[0].asserts == {"no_resource_leaks": TRUE}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", None, "the document: has to be a map of keys to values"),
        ("test_matrix: 5\n", 1, "test_matrix: has to be a map of keys to values"),
        ("{}\n", None, "test_matrix: is missing"),
        ("test_matrix:\n  cases: []\n", 2, "test_matrix.cases: there is no case in it"),
        ("test_matrix:\n  cases:\n  - playbook: own.yml\n", 3, "test_matrix.cases[0].id: is missing"),
        (
            "test_matrix:\n  cases:\n  - id: ../up\n    playbook: own.yml\n",
            3,
            "test_matrix.cases[0].id: '../up' does not match ^[",
        ),
        (
            "test_matrix:\n  base_asserts: [all_is_well]\n  cases: [{id: a, playbook: own.yml}]\n",
            2,
            "test_matrix.base_asserts[0]: all_is_well is not a base assert; there are: system_returns_to_solo_madre",
        ),
        (case("sevices: [web]"), 5, "test_matrix.cases[0].sevices: unknown key"),
        (case("services: [web, other]"), 5, "test_matrix.cases[0].services[1]: the catalogue has no service other"),
        (case("timeout: soon"), 5, "test_matrix.cases[0].timeout: 'soon' is not a duration"),
        (case("timeout: 0"), 5, "test_matrix.cases[0].timeout: has to be greater than 0"),
        (
            case("actions:\n      - wait: 5s\n      - open_windw: web"),
            7,
            "test_matrix.cases[0].actions[1]: open_windw is not an action; there are: open_window, attempt_open",
        ),
        (case("actions: [{}]"), 5, "test_matrix.cases[0].actions[0]: an empty action is not an action"),
        (case("requires: [limits.gpu]"), 5, "test_matrix.cases[0].requires[0]: limits.gpu is no capability"),
        (
            case("asserts:\n      - good: true\n      - bad: five"),
            7,
            "test_matrix.cases[0].asserts[1].bad: 'five' is not true, false, a number, or a comparison such as",
        ),
        (case("asserts: [{a: 1, b: 2}]"), 5, "test_matrix.cases[0].asserts[0]: an assert is a map of one name"),
        (case("asserts: [{}]"), 5, "test_matrix.cases[0].asserts[0]: an assert is a map of one name"),
        (case("asserts: [{Not A Name: 1}]"), 5, "test_matrix.cases[0].asserts[0]: Not A Name is not a name; use a-z"),
        (
            case("asserts:\n      - latency_ms: '>= 1'\n      - latency_ms: '< 50'"),
            7,
            "test_matrix.cases[0].asserts[1].latency_ms: latency_ms stands twice",
        ),
        (case("services: web"), 5, "test_matrix.cases[0].services: has to be a list"),
        (case("exclusive: soon"), 5, "test_matrix.cases[0].exclusive: has to be true or false"),
        (
            case("actions:\n      - open_window: [web, shop]"),
            6,
            "test_matrix.cases[0].actions[0]: the catalogue has no",
        ),
        (case("asserts: [good]"), 5, "test_matrix.cases[0].asserts[0]: an assert is a map of one name"),
        ("test_matrix:\n  cases:\n  - one\n", 3, "test_matrix.cases[0]: has to be a map of keys to values"),
        (case("playbok: x"), 5, "test_matrix.cases[0].playbok: unknown key"),
    ],
)
def test_a_mistake_is_told_with_its_line(load: Load, text: str, line: int | None, message: str) -> None:
    ((at, said),) = told(load, text)
    assert said.startswith(message)
    assert at == line


@pytest.mark.parametrize("name", ["gone.yml", "vx11.power.cases.tc_099", "../own.yml", "other.collection.play"])
def test_a_playbook_that_is_not_there(load: Load, name: str) -> None:
    text = f"test_matrix:\n  cases:\n    - id: a\n      playbook: {name}\n"
    ((line, message),) = told(load, text)
    assert line == 4
    assert message.startswith(f"test_matrix.cases[0].playbook: the playbook {name} was not found at /")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("window_auto_closd", "nothing observes window_auto_closd; did you mean window_auto_closed?"),
        ("colour_is_right", "nothing observes colour_is_right, and the case has no suite that could"),
    ],
)
def test_an_assert_that_nothing_can_observe(load: Load, name: str, message: str) -> None:
    text = f"test_matrix:\n  cases:\n    - id: a\n      actions: [{{wait: 1s}}]\n      asserts: [{{{name}: true}}]\n"
    assert told(load, text) == [(5, f"test_matrix.cases[0].asserts[0].{name}: {message}")]


def test_an_id_that_stands_twice(load: Load) -> None:
    text = "test_matrix:\n  cases:\n    - {id: a, playbook: own.yml}\n    - {id: a, playbook: own.yml}\n"
    assert told(load, text) == [(4, "test_matrix.cases[1].id: the id a stands twice")]


def test_all_mistakes_are_told_at_once(load: Load, write: Write, collection: Collection, tmp_path: Path) -> None:
    load(GOOD)
    write("bundle/catalogue.yml", "services:\n  web: {imag: one}\n")
    write("bundle/allowlist.yml", "version: 2\nservices: {}\n")
    write("bundle/matrix.yml", case("actions: [{jump: 1}]\n      asserts: [{a: b}]").replace("own.yml", "gone.yml"))
    with pytest.raises(InputError) as refused:
        matrix.load(tmp_path / "bundle", collection)
    found = {(problem.path.name, problem.line) for problem in refused.value.problems if problem.path}
    assert found >= {
        ("catalogue.yml", 2),
        ("allowlist.yml", 1),
        ("matrix.yml", 4),
        ("matrix.yml", 5),
        ("matrix.yml", 6),
    }


def test_what_is_wrong_with_the_form_hides_nothing_else(load: Load) -> None:
    """Whoever mends a list of mistakes must not get another one."""
    text = """\
test_matrix:
  base_assert: [all_is_well]
  cases:
    - one
    - id: first case
      action: [wait: 5s]
      asserts: [good: five]
    - id: second
      services: web
      actions:
        - wait
        - wait: -1
        - open_window: shop
          params: {ttl: 30x}
      timeout: soon
    - playbook: own.yml
      metrics: startup_time_ms
    - playbook: own.yml
    - id: second
      playbook: own.yml
"""
    assert [(line, message.partition(": ")[0]) for line, message in told(load, text)] == [
        (2, "test_matrix.base_assert"),
        (4, "test_matrix.cases[0]"),
        (5, "test_matrix.cases[1].id"),
        (6, "test_matrix.cases[1].action"),
        (7, "test_matrix.cases[1].asserts[0].good"),
        (9, "test_matrix.cases[2].services"),
        (11, "test_matrix.cases[2].actions[0]"),
        (12, "test_matrix.cases[2].actions[1].wait"),
        (13, "test_matrix.cases[2].actions[2]"),
        (14, "test_matrix.cases[2].actions[2].params.ttl"),
        (15, "test_matrix.cases[2].timeout"),
        (16, "test_matrix.cases[3].id"),
        (17, "test_matrix.cases[3].metrics"),
        (18, "test_matrix.cases[4].id"),
        (19, "test_matrix.cases[5].id"),
    ]


def test_a_bundle_without_its_files(write: Write, collection: Collection, tmp_path: Path) -> None:
    write("bundle/own.yml", "[]\n")
    write("bundle/matrix.yml", case("description: x"))
    with pytest.raises(InputError) as refused:
        matrix.load(tmp_path / "bundle", collection)
    bundle = tmp_path / "bundle"
    update = f"vx11 allowlist update --catalogue {bundle}/catalogue.yml --allowlist {bundle}/allowlist.yml"
    assert [str(problem) for problem in refused.value.problems] == [
        f"{bundle}/allowlist.yml: is not there, so nothing may be opened; look at the catalogue, then run: {update}",
        f"{bundle}/catalogue.yml: cannot be read: No such file or directory",
    ]
    with pytest.raises(InputError, match=r"nowhere: cannot be read: No such file"):
        matrix.load(tmp_path / "nowhere", collection)


def test_a_stale_allowlist_says_how_to_renew_it(load: Load, write: Write) -> None:
    load(GOOD)
    write("bundle/catalogue.yml", "services:\n  web: {image: newer}\n  db: {image: two}\n")
    with pytest.raises(
        InputError, match=r"web: its entry is changed \(.+\); look at it, then run: vx11 allowlist update"
    ):
        load(GOOD)


@pytest.mark.parametrize(
    ("ids", "chosen"),
    [([], ["TC-001", "TC-002"]), (["TC-002"], ["TC-002"]), (["TC-002", "TC-001"], ["TC-001", "TC-002"])],
)
def test_cases_are_chosen_in_the_order_of_the_file(load: Load, ids: list[str], chosen: list[str]) -> None:
    assert [case.id for case in load(GOOD).chosen(ids).cases] == chosen


def test_cases_that_are_not_there_are_all_named(load: Load) -> None:
    with pytest.raises(InputError) as refused:
        load(GOOD).chosen(["TC-001", "TC-009", "TC-010"])
    assert [problem.message for problem in refused.value.problems] == [
        f"there is no case {name}; there are: TC-001, TC-002" for name in ("TC-009", "TC-010")
    ]
