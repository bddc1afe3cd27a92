"""Secrets in a tree and in its history; of each is told where it is, and never what."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vx11.errors import InputError
from vx11.release import gates
from vx11.release.config import Release
from vx11.release.repository import Repository
from vx11.release.secrets import Found, in_history, in_tree, known
from vx11.release.verdicts import Outcome

# Put together here, so that this file has no key in it.
KEY = "AKIA" + "QYLPMN5HFIQR7XYA"
LINE = f'key = "{KEY}"\n'
MakeRelease = Callable[..., Release]


def test_one_in_the_tree(git: Any) -> None:
    (git.path / "settings.py").write_text(f"# first\n{LINE}", encoding="utf-8")
    found, count = in_tree(Repository(git.path), known(None))
    assert Found("", "settings.py", 2, "AWS Access Key") in found
    assert count == 2
    assert in_history(Repository(git.path), known(None)) == ([], 1)


def test_one_in_a_file_whose_name_is_no_text(git: Any) -> None:
    Path(os.fsdecode(os.fsencode(git.path) + b"/\xff.py")).write_text(LINE, encoding="utf-8")
    found, _ = in_tree(Repository(git.path), known(None))
    assert {one.file for one in found} == {"\N{REPLACEMENT CHARACTER}.py"}


def test_one_that_a_later_commit_has_removed(git: Any) -> None:
    added = git.commit(settings__py=LINE)
    git.commit(settings__py="key = None\n")
    assert in_tree(Repository(git.path), known(None))[0] == []
    found, count = in_history(Repository(git.path), known(None))
    assert Found(added, "settings.py", 1, "AWS Access Key") in found
    assert count == 3


def test_one_that_only_a_merge_has(git: Any) -> None:
    git("checkout", "-q", "-b", "other")
    git.commit(other="1\n")
    git("checkout", "-q", "main")
    git.commit(more="1\n")
    git("merge", "-q", "--no-commit", "--no-ff", "other")
    merged = git.commit(settings__py=LINE)
    git.commit(settings__py=None)
    found, _ = in_history(Repository(git.path), known(None))
    assert {(one.commit, one.file) for one in found} == {(merged, "settings.py")}


def baseline_of(git: Any, *, is_secret: bool | None) -> Path:
    """As detect-secrets writes it for the whole tree, and people judge it."""
    from detect_secrets import SecretsCollection
    from detect_secrets.core import baseline
    from detect_secrets.settings import default_settings

    collection = SecretsCollection(root=str(git.path))
    with default_settings():
        collection.scan_file("settings.py")
        told = json.loads(json.dumps(baseline.format_for_output(collection)))
    for one in told["results"]["settings.py"]:
        one.update({} if is_secret is None else {"is_secret": is_secret})
    path = Path(git.path.parent / "judged.json")
    path.write_text(json.dumps(told), encoding="utf-8")
    return path


@pytest.mark.parametrize(("is_secret", "outcome"), [(False, "passed"), (True, "failed"), (None, "failed")])
def test_what_people_have_judged_is_taken_as_they_judged_it(
    git: Any, release: MakeRelease, is_secret: bool | None, outcome: str
) -> None:
    git.commit(settings__py=LINE)
    judged = baseline_of(git, is_secret=is_secret)
    git.commit(settings__py=None)
    assert gates.run(gates.GATES[2], release(tree=git.path, secrets=judged)).outcome == outcome
    git.commit(__secrets__baseline=judged.read_text(encoding="utf-8"))
    assert gates.run(gates.GATES[2], release(tree=git.path)).outcome == outcome


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"results": 1}', '{"results": {"a": [1]}}'])
def test_a_file_that_is_no_baseline(tmp_path: Path, text: str) -> None:
    path = tmp_path / "baseline"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="is not a baseline"):
        known(path)


def test_the_gate_passes_on_a_clean_checkout(git: Any, release: MakeRelease) -> None:
    result = gates.run(gates.GATES[2], release(tree=git.path))
    assert (result.outcome, result.broken) == (Outcome.PASSED, [])


def test_the_gate_fails_on_a_secret_of_the_past_and_does_not_tell_it(git: Any, release: MakeRelease) -> None:
    added = git.commit(settings__py=LINE)
    git.commit(settings__py=None)
    result = gates.run(gates.GATES[2], release(tree=git.path))
    assert result.outcome is Outcome.FAILED
    assert f"settings.py:1 of {added[:12]} (AWS Access Key)" in result.reason
    assert KEY not in json.dumps(result.to_json())


def test_the_gate_fails_on_an_environment_file_of_the_past(git: Any, release: MakeRelease) -> None:
    git.commit(__env="A=1\n")
    git.commit(__env=None)
    result = gates.run(gates.GATES[2], release(tree=git.path))
    assert (result.outcome, result.reason) == (Outcome.FAILED, "no .env is or was in git: .env")


def test_the_gate_fails_where_the_history_is_cut_off(tmp_path: Path, git: Any, release: MakeRelease) -> None:
    git.commit(README="more\n")
    git("clone", "-q", "--depth", "1", f"file://{git.path}", str(tmp_path / "shallow"))
    result = gates.run(gates.GATES[2], release(tree=tmp_path / "shallow"))
    assert (result.outcome, result.reason) == (Outcome.FAILED, "the history is whole: shallow")


def test_without_a_tree_it_is_not_applicable(release: MakeRelease) -> None:
    result = gates.run(gates.GATES[2], release())
    assert (result.outcome, result.reason) == (Outcome.NOT_APPLICABLE, "no tree is named")
