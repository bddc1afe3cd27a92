"""The allowlist: exactly the entries that were allowed, and nothing that was left out on purpose."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vx11.catalogue import allowlist, compose
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


def test_a_new_list_without_names_allows_all_services(catalogue: MakeCatalogue, path: Path) -> None:
    assert allowlist.update(path, catalogue(web="a", db="b")) == {"web": "added", "db": "added"}
    assert names(path) == {"web", "db"}


def test_a_new_list_with_names_allows_those_alone(catalogue: MakeCatalogue, path: Path) -> None:
    assert allowlist.update(path, catalogue(web="a", db="b"), ["db"]) == {"db": "added"}
    assert names(path) == {"db"}


def test_without_names_only_what_is_listed_is_refreshed(catalogue: MakeCatalogue, path: Path) -> None:
    allowlist.update(path, catalogue(web="a", db="b"), ["db"])
    assert allowlist.update(path, catalogue(web="a2", db="b2", new="c")) == {"db": "updated"}
    assert names(path) == {"db"}
    allowlist.load(path).check(catalogue(web="a2", db="b2").services["db"])


def test_a_list_that_allows_nothing_stays_so(write: Write, catalogue: MakeCatalogue, path: Path) -> None:
    write("allowlist.yml", "version: 1\nservices: {}\n")
    assert allowlist.update(path, catalogue(web="a")) == {}
    assert names(path) == set()


def test_a_name_is_added_and_the_others_stay_as_they_were(catalogue: MakeCatalogue, path: Path) -> None:
    allowlist.update(path, catalogue(web="a", db="b"), ["web"])
    assert allowlist.update(path, catalogue(web="a2", db="b"), ["db"]) == {"db": "added"}
    assert allowlist.differences(allowlist.load(path), catalogue(web="a2", db="b")) == {"web": "changed"}


def test_what_is_up_to_date_is_not_written_again(catalogue: MakeCatalogue, path: Path) -> None:
    allowlist.update(path, catalogue(web="a"))
    before = path.stat().st_ino
    assert allowlist.update(path, catalogue(web="a")) == {}
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
        f"    sha256: {found.services['db'].sha256}",
        "  web:",
        f"    sha256: {found.services['web'].sha256}",
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
    assert allowlist.differences(allowlist.load(path), now) == {
        "changed": "changed",
        "gone": "not in the catalogue",
        "new": "not allowed",
    }
    allowlist.update(path, now, ["changed", "new"])
    assert allowlist.differences(allowlist.load(path), now) == {"gone": "not in the catalogue"}


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
