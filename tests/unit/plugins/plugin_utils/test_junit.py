"""What is read from the file that pytest wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.vx11.power.plugins.plugin_utils.junit import Summary, read


def test_counts_and_names_what_failed(tmp_path: Path) -> None:
    path = tmp_path / "suite.xml"
    path.write_text(
        """<?xml version="1.0"?><testsuites><testsuite tests="5">
        <testcase classname="auth" name="test_login"/>
        <testcase classname="auth.TestToken" name="test_expiry"><failure message="assert 200 == 401
          where 200 = status"/></testcase>
        <testcase classname="auth" name="test_fixture"><error>no window</error></testcase>
        <testcase classname="auth" name="test_later"><skipped message="not today"/></testcase>
        <testcase classname="auth" name="test_twice"><failure message="wrong"/></testcase>
        <testcase classname="auth" name="test_twice"><error message="teardown too"/></testcase>
        </testsuite></testsuites>"""
    )
    assert read(str(path)) == Summary(
        passed=1,
        failed=2,
        errors=1,
        skipped=1,
        failures=(
            "TestToken::test_expiry: assert 200 == 401 where 200 = status",
            "test_fixture: no window",
            "test_twice: wrong",
            "test_twice: teardown too",
        ),
    )


def test_a_test_that_was_interrupted_has_not_passed(tmp_path: Path) -> None:
    path = tmp_path / "suite.xml"
    path.write_text('<testsuite tests="1"><testcase name="a"/><testcase name="interrupted"/></testsuite>')
    assert read(str(path)) == Summary(passed=1)


def test_long_messages_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "suite.xml"
    path.write_text(f'<testsuite><testcase name="a"><failure message="{"x" * 1000}"/></testcase></testsuite>')
    [line] = read(str(path)).failures
    assert len(line) == len("a: ") + 300
    assert line.endswith("…")


@pytest.mark.parametrize("content", [None, "", "<testsuite><testcase"])
def test_a_file_that_was_not_written_to_its_end_says_nothing(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "suite.xml"
    if content is not None:
        path.write_text(content)
    assert read(str(path)) == Summary()
