"""The page: complete, whole in one file, and harmless whatever a case said."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.chains import whole
from tests.unit.conductor.report import runs
from tests.unit.conductor.report.conftest import Window
from vx11.conductor import report
from vx11.conductor.judge import CaseResult, Judged, Verdict
from vx11.conductor.observations import Observed

VOID = {"meta", "input"}


class Page(HTMLParser):
    """Its elements and texts.

    Attributes:
        shape: each element with the names of its attributes.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.shape: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert len(found) == len(attrs)
        self.shape.append((tag, tuple(found)))
        self.links += [value for name, value in attrs if name in ("href", "src") and value]
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.shape.append((tag, tuple(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def write(folder: Path, out: Path) -> Page:
    report.write(report.read(folder), out)
    return Page(out / "index.html")


@pytest.fixture
def page(make_run: Callable[..., Any], tmp_path: Path) -> Page:
    """Of a run with each verdict."""
    return write(runs.of_every_verdict(make_run), tmp_path / "out")


def life(text: str) -> Window:
    """A window of a service of this name, with usage."""
    events = [(0.5, "opening", {"ttl_s": 3, "hold": True}), (1, "opened", {}), (3, "closed", {"reason": text})]
    return Window(text, events, lambda at: {"cpu_s": at / 2, "memory_bytes": 2**20, "io_write_ops": int(at)})


def saying(make_run: Callable[..., Any], text: str) -> Path:
    """A run in which everything that a case can say is this text."""
    maker = make_run({"TC-001": text})
    call = {"module": text, "at": (0.5, 1), "args": {"state": text, "service": text}}
    failed = {**call, "more": {"failed": True, "msg": text}}
    wrong = Judged(text, text, text, holds=False, why=text)
    result = CaseResult("TC-001", Verdict.FAILED, text, 4.0, (wrong,), {text: Observed(text, text, text)}, (text,))
    maker.attempt(result, windows=[life(text)], calls=[call, failed])
    maker.verdict("TC-001", Verdict.FAILED, text)
    found: Path = maker.finish(left=[text])
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(min_size=1)
    | st.sampled_from(
        [
            "<script>alert(1)</script>",
            '" onload="x',
            "'><img src=x>",
            "</style><b>",
            "{{ 7*7 }}{% raw %}",
            "&lt;",
            "-->",
        ]
    )
)
def test_its_shape_is_the_same_whatever_a_case_said(make_run: Callable[..., Any], tmp_path: Path, text: str) -> None:
    plain = write(saying(make_run, "plain"), tmp_path / "plain")
    assert write(saying(make_run, text), tmp_path / "out").shape == plain.shape


def test_what_a_case_said_is_shown_as_it_is(make_run: Callable[..., Any], tmp_path: Path) -> None:
    found = write(saying(make_run, "<script>alert(1)</script>{{ 7*7 }}"), tmp_path / "out")
    assert found.text.count("<script>alert(1)</script>{{ 7*7 }}") > 5


def test_it_needs_nothing_but_itself(page: Page) -> None:
    assert not {tag for tag, _ in page.shape} & {"script", "link", "img", "iframe", "object", "base"}
    assert not re.search(r"url\(|@import|https?://", page.source)
    assert "default-src 'none'" in page.source
    assert not [name for _, names in page.shape for name in names if name.startswith("on")]


def test_every_link_leads_somewhere(make_run: Callable[..., Any], tmp_path: Path) -> None:
    maker = make_run({"TC-001": ""})
    intent = tmp_path / "patch_intents" / "PI-1.TC-001"
    intent.mkdir(parents=True)
    (intent / "PATCH_INTENT.md").write_text("# why")
    folder = maker.attempt(CaseResult("TC-001", Verdict.FAILED, duration=1.0, intent=str(intent)))
    (folder / "runner").mkdir()
    (folder / "runner" / "stdout").write_text("said")
    (folder / "suites" / 'a "b" #1%20<i>').mkdir(parents=True)
    (folder / "suites" / 'a "b" #1%20<i>' / "output.log").write_text("said")
    maker.verdict("TC-001", Verdict.FAILED)
    path = maker.finish()
    (path / "manifest.json").write_text("{}")
    found = write(path, tmp_path / "somewhere" / "else")
    files = [link for link in found.links if not link.startswith("#")]
    for link in files:
        parts = urlsplit(link)
        assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", "")
        assert (tmp_path / "somewhere" / "else" / unquote(parts.path)).exists(), link
    for name in ("output.log", "PI-1.TC-001/PATCH_INTENT.md", "runner/stdout"):
        assert sum(link.endswith(name) for link in files) == 1
    assert {unquote(link[1:]) for link in found.links if link.startswith("#")} <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))


def test_it_says_what_came_of_each_try(page: Page) -> None:
    text = re.sub(r"\s+", " ", page.text)
    for words in (
        "not passed",
        "1 ✓ passed",
        "2 ■ aborted",
        "Left behind: container abc",
        "leaves, time 1",
        "passed at try 2; before: too slow",
        "the engine process cannot do partition here",
        "expected < 3, observed 3",
        "startup_time_ms41.5 msconductor",
        "Try 2",
        "process (asked for)",
    ):
        assert words in text, words


@pytest.mark.parametrize(("scale", "said"), [("1.0", False), ("0.1", True)])
def test_a_time_scale_is_said_plainly(make_run: Callable[..., Any], tmp_path: Path, scale: str, said: bool) -> None:
    found = write(make_run({"TC-001": ""}, time_scale=scale).finish(), tmp_path / "out")
    assert ("Waits and times to live were 0.1 times as long" in found.text) is said


def test_it_has_headings_for_every_table_and_names_for_every_figure(page: Page) -> None:
    tags = [tag for tag, _ in page.shape]
    assert tags.count("table") == tags.count("thead")
    assert all("scope" in names for tag, names in page.shape if tag == "th")
    assert all("aria-label" in names or "aria-hidden" in names for tag, names in page.shape if tag == "svg")
    assert all("aria-label" in names for tag, names in page.shape if tag == "figure")


def test_a_window_is_drawn_with_its_usage(make_run: Callable[..., Any], tmp_path: Path) -> None:
    found = write(saying(make_run, "web"), tmp_path / "out")
    assert found.source.count('class="bar open"') == 2
    assert [title in found.text for title in ("Processor", "Memory", "Input and output")] == [True] * 3
    assert found.source.count('class="line c0" d="M') == 6


def test_made_anew_they_are_the_same_and_evidence_is_untouched(make_run: Callable[..., Any], tmp_path: Path) -> None:
    folder = runs.of_every_verdict(make_run)
    report.write(report.read(folder), folder / "report")
    first = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    report.write(report.read(folder), folder / "report")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == first
    assert whole(folder / "evidence.jsonl")


def test_one_case_is_in_memory_at_a_time(make_run: Callable[..., Any], tmp_path: Path) -> None:
    """The page is written before the last case is read."""
    run = report.read(runs.of_every_verdict(make_run))
    (tmp_path / "out").mkdir()
    written: list[int] = []
    records = run.records

    def counting(item: Any) -> Any:
        written.append((tmp_path / "out" / "index.html").stat().st_size if item.result.case == "leaked" else 0)
        return records(item)

    run.records = counting  # type: ignore[method-assign]
    with (tmp_path / "out" / "index.html").open("w", buffering=1, encoding="utf-8") as file:
        report.FILES["index.html"](file, run, tmp_path / "out")
    assert written[-1] > 10_000
