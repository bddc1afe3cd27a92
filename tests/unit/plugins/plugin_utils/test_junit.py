"""What is read from the file that pytest wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.vx11.power.plugins.plugin_utils.junit import OneTest, read


def test_each_test_has_its_outcome_and_the_worse_of_two(tmp_path: Path) -> None:
    path = tmp_path / "suite.xml"
    path.write_text(
        """<?xml version="1.0"?><testsuites><testsuite tests="5">
        <testcase classname="auth" name="test_login" time="0.25"/>
        <testcase classname="auth.TestToken" name="test_expiry"><failure message="assert 200 == 401
          where 200 = status"/></testcase>
        <testcase classname="auth" name="test_fixture"><error>no window</error></testcase>
        <testcase classname="auth" name="test_later"><skipped message="not today"/></testcase>
        <testcase classname="auth" name="test_twice" time="0.5"><failure message="wrong"/></testcase>
        <testcase classname="auth" name="test_twice" time="0.25"><error message="teardown too"/></testcase>
        <testcase time="0.5"/>
        </testsuite></testsuites>"""
    )
    assert read(str(path)) == [
        OneTest("test_login", "passed", 0.25, ""),
        OneTest("TestToken::test_expiry", "failed", 0.0, "assert 200 == 401 where 200 = status"),
        OneTest("test_fixture", "error", 0.0, "no window"),
        OneTest("test_later", "skipped", 0.0, "not today"),
        OneTest("test_twice", "failed", 0.75, "wrong; teardown too"),
    ]


def test_why_a_file_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "suite.xml"
    text = "auth.py:1: in <module>\n    import httpz\nE   ModuleNotFoundError: No module named 'httpz'"
    path.write_text(
        f'<testsuite><testcase classname="" name="auth"><error message="collection failure">{text.replace("<", "&lt;")}'
        "</error></testcase></testsuite>"
    )
    assert read(str(path)) == [OneTest("auth", "error", 0.0, "ModuleNotFoundError: No module named 'httpz'")]


def test_long_messages_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "suite.xml"
    path.write_text(f'<testsuite><testcase name="a"><failure message="{"x" * 1000}"/></testcase></testsuite>')
    [test] = read(str(path))
    assert len(test.message) == 300
    assert test.message.endswith("…")


@pytest.mark.parametrize("content", [None, "", "<testsuite><testcase"])
def test_a_file_that_was_not_written_to_its_end_says_nothing(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "suite.xml"
    if content is not None:
        path.write_text(content)
    assert read(str(path)) == []
