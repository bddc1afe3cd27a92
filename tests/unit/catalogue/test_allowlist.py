"""The allowlist: exactly the entries that were allowed, and nothing that was left out on purpose."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from vx11.catalogue import allowlist, compose, contents
from vx11.catalogue.allowlist import Allowlist, NotAllowed
from vx11.catalogue.compose import Catalogue
from vx11.errors import InputError

Write = Callable[[str, str], Path]
MakeCatalogue = Callable[..., Catalogue]


@pytest.fixture
def catalogue(write: Write) -> MakeCatalogue:
    """`catalogue(web="image:1", …)`: services with their images."""

    def make(**images: str) -> Catalogue:
        lines = "".join(f"  {name}: {{image: '{image}'}}\n" for name, image in images.items())
        return compose.load(write("catalogue.yml", f"services:\n{lines}"), {})

    return make


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "allowlist.yml"


def names(path: Path) -> set[str]:
    return set(allowlist.load(path).digests)


def updated(path: Path, catalogue: Catalogue, names: Sequence[str] = ()) -> dict[str, str]:
    """What an update did, in a word a service."""
    return {name: found.what for name, found in allowlist.update(path, catalogue, names).items()}


def differing(path: Path, catalogue: Catalogue) -> dict[str, str]:
    """What of the two does not agree, in a word a service."""
    return {name: found.what for name, found in allowlist.differences(allowlist.load(path), catalogue).items()}


def changes(path: Path, catalogue: Catalogue) -> list[str]:
    """What has changed of `web`, in words."""
    return list(map(str, allowlist.differences(allowlist.load(path), catalogue)["web"].changes))


def test_a_new_list_without_names_allows_all_services(catalogue: MakeCatalogue, path: Path) -> None:
    assert updated(path, catalogue(web="a", db="b")) == {"web": "added", "db": "added"}
    assert names(path) == {"web", "db"}


def test_a_new_list_with_names_allows_those_alone(catalogue: MakeCatalogue, path: Path) -> None:
    assert updated(path, catalogue(web="a", db="b"), ["db"]) == {"db": "added"}
    assert names(path) == {"db"}


def test_without_names_only_what_is_listed_is_refreshed(catalogue: MakeCatalogue, path: Path) -> None:
    allowlist.update(path, catalogue(web="a", db="b"), ["db"])
    assert updated(path, catalogue(web="a2", db="b2", new="c")) == {"db": "updated"}
    assert names(path) == {"db"}
    allowlist.load(path).check(catalogue(web="a2", db="b2").services["db"])


def test_a_list_that_allows_nothing_stays_so(write: Write, catalogue: MakeCatalogue, path: Path) -> None:
    write("allowlist.yml", "version: 1\nservices: {}\n")
    assert updated(path, catalogue(web="a")) == {}
    assert names(path) == set()


def test_a_name_is_added_and_the_others_stay_as_they_were(catalogue: MakeCatalogue, path: Path) -> None:
    allowlist.update(path, catalogue(web="a", db="b"), ["web"])
    assert updated(path, catalogue(web="a2", db="b"), ["db"]) == {"db": "added"}
    assert differing(path, catalogue(web="a2", db="b")) == {"web": "changed"}


def test_what_is_up_to_date_is_not_written_again(catalogue: MakeCatalogue, path: Path) -> None:
    allowlist.update(path, catalogue(web="a"))
    before = path.stat().st_ino
    assert updated(path, catalogue(web="a")) == {}
    assert path.stat().st_ino == before
    assert {item.name for item in path.parent.iterdir()} == {"allowlist.yml", "catalogue.yml"}


def test_the_file_can_be_read_by_people_and_compared(catalogue: MakeCatalogue, path: Path) -> None:
    found = catalogue(web="a", db="b")
    allowlist.update(path, found)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "---"
    assert lines[1].startswith("# ")
    assert lines[2:] == [
        "version: 1",
        "services:",
        "  db:",
        f"    sha256: {contents.digest(found.services['db'], path)}",
        "    entry:",
        "      image: b",
        "  web:",
        f"    sha256: {contents.digest(found.services['web'], path)}",
        "    entry:",
        "      image: a",
    ]


@pytest.mark.parametrize("given", [["gone", "lost"], []])
def test_a_name_that_the_catalogue_has_not_is_an_error_and_changes_nothing(
    catalogue: MakeCatalogue, path: Path, given: list[str]
) -> None:
    allowlist.update(path, catalogue(web="a", gone="b", lost="c"))
    before = path.read_bytes()
    with pytest.raises(InputError) as refused:
        allowlist.update(path, catalogue(web="a2"), given)
    assert [problem.message for problem in refused.value.problems] == [
        "the catalogue has no service gone; remove it from the allowlist or name another",
        "the catalogue has no service lost; remove it from the allowlist or name another",
    ]
    assert path.read_bytes() == before


def test_a_broken_list_is_never_written_over(write: Write, catalogue: MakeCatalogue, path: Path) -> None:
    write("allowlist.yml", "version: 2\n")
    with pytest.raises(InputError):
        allowlist.update(path, catalogue(web="a"))
    assert path.read_text(encoding="utf-8") == "version: 2\n"


def test_only_the_entry_that_was_allowed_may_be_opened(catalogue: MakeCatalogue, path: Path) -> None:
    before = catalogue(web="a", db="b")
    allowlist.update(path, before, ["web"])
    listed = allowlist.load(path)
    listed.check(before.services["web"])
    with pytest.raises(NotAllowed, match="the service db is not on the allowlist"):
        listed.check(before.services["db"])
    with pytest.raises(NotAllowed, match="the catalogue entry of web is not the one that was allowed"):
        listed.check(catalogue(web="a2").services["web"])


def test_an_empty_list_allows_nothing(catalogue: MakeCatalogue, path: Path) -> None:
    with pytest.raises(NotAllowed):
        Allowlist(path, {}).check(catalogue(web="a").services["web"])


def test_differences_name_each_service_that_does_not_agree(catalogue: MakeCatalogue, path: Path) -> None:
    allowlist.update(path, catalogue(same="a", changed="b", gone="c"))
    now = catalogue(same="a", changed="b2", new="d")
    assert differing(path, now) == {
        "changed": "changed",
        "gone": "not in the catalogue",
        "new": "not allowed",
    }
    allowlist.update(path, now, ["changed", "new"])
    assert differing(path, now) == {"gone": "not in the catalogue"}


def entry(write: Write, text: str, variables: dict[str, str] | None = None) -> Catalogue:
    return compose.load(write("catalogue.yml", f"services:\n  web: {text}\n"), variables or {})


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("{image: 'a:1'}", "{image: 'a:2'}", ["image: from a:1 to a:2"]),
        ("{image: a}", "{image: a, read_only: true}", ["read_only: added, true"]),
        ("{image: a, cap_add: [NET_RAW]}", "{image: a}", ["cap_add[0]: removed, was NET_RAW"]),
        (
            "{image: a, x-vx11: {ttl: 5m}, environment: {LEVEL: info}}",
            "{image: a, x-vx11: {ttl: 6m}, environment: {LEVEL: debug}}",
            ["environment.LEVEL: from info to debug", "x-vx11.ttl: from 5m to 6m"],
        ),
        ("{image: a, volumes: []}", "{image: a}", ["volumes: removed, was []"]),
        ("{image: 'a/token:1'}", "{image: 'a/token:2'}", ["image: from a/token:1 to a/token:2"]),
        ("{image: a, mem_limit: 1}", "{image: a, mem_limit: '1'}", []),  # another type, the same in words
        ("{image: a, environment: {PASSWORD: one}}", "{image: a, environment: {PASSWORD: two}}", []),
        ("{image: a, command: [x, '--token=1']}", "{image: a, command: [x, '--token=2']}", []),
    ],
)
def test_a_difference_is_told_key_by_key(write: Write, path: Path, before: str, after: str, told: list[str]) -> None:
    allowlist.update(path, entry(write, before))
    assert changes(path, entry(write, after)) == told


def test_what_comes_from_a_variable_stands_nowhere(write: Write, path: Path) -> None:
    text = "{image: 'a:${TAG}', command: [run, '${X}'], environment: {LEVEL: info}}"
    allowlist.update(path, entry(write, text, {"TAG": "hunter2", "X": "hunter2"}))
    assert "hunter2" not in path.read_text(encoding="utf-8")
    assert differing(path, entry(write, text, {"TAG": "other", "X": "hunter2"})) == {"web": "changed"}
    assert changes(path, entry(write, text, {"TAG": "other", "X": "hunter2"})) == []


def test_a_difference_of_files_is_told(write: Write, path: Path) -> None:
    write("src/Dockerfile", "FROM a\n")
    built = entry(write, "{image: a, build: {context: src}}")
    allowlist.update(path, built)
    write("src/Dockerfile", "FROM b\n")
    (told,) = changes(path, built)
    assert re.fullmatch(r"files of build: from sha256 [0-9a-f]{12} to sha256 [0-9a-f]{12}", told)


def test_a_list_without_entries_counts_all_the_same(write: Write, path: Path) -> None:
    found = entry(write, "{image: a}")
    digest = contents.digest(found.services["web"], path)
    write("allowlist.yml", f"version: 1\nservices: {{web: {{sha256: {digest}}}}}\n")
    allowlist.load(path).check(found.services["web"])
    now = entry(write, "{image: b}")
    assert changes(path, now) == []
    with pytest.raises(NotAllowed):
        allowlist.load(path).check(now.services["web"])


def test_a_refusal_says_why_in_a_word_and_which_keys(write: Write, path: Path) -> None:
    allowlist.update(path, entry(write, "{image: a}"))
    with pytest.raises(NotAllowed) as changed:
        allowlist.load(path).check(entry(write, "{image: b, read_only: true}").services["web"])
    assert (changed.value.reason, changed.value.keys) == ("changed", ("image", "read_only"))
    with pytest.raises(NotAllowed) as unlisted:
        Allowlist(path, {}).check(entry(write, "{image: a}").services["web"])
    assert (unlisted.value.reason, unlisted.value.keys) == ("unlisted", ())


DIGEST = "0" * 63 + "a"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["None: the document: "]),
        ("version: 2\nservices: {}\n", ["1: version: has to be 1"]),
        ("services: {}\n", ["None: version: is missing"]),
        ("version: 1\n", ["None: services: is missing"]),
        (f"version: 1\nservices: {{a: {{sha256: {DIGEST}}}}}\nextra: 1\n", ["3: extra: unknown key"]),
        ("version: 1\nservices:\n  a: {}\n  b: {sha256: abc}\n", ["3: services.a.sha256: ", "4: services.b.sha256: "]),
        (f"version: 1\nservices:\n  a: {{sha256: {DIGEST.upper()}}}\n", ["3: services.a.sha256: "]),
        (f"version: 1\nservices:\n  a: {DIGEST}\n", ["3: services.a: "]),
        (f"version: 1\nservices:\n  a: {{sha256: {DIGEST}}}\n  a: {{sha256: {DIGEST}}}\n", ["4: is not valid YAML"]),
        ("version: 1\nservices: [a]\n", ["2: services: "]),
    ],
)
def test_a_malformed_list_is_told_with_its_lines(write: Write, text: str, problems: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        allowlist.load(write("allowlist.yml", text))
    told = [f"{problem.line}: {problem.message}" for problem in refused.value.problems]
    assert len(told) == len(problems)
    assert all(one.startswith(wanted) for one, wanted in zip(told, problems, strict=True))


def test_a_missing_list_is_told(path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        allowlist.load(path)
