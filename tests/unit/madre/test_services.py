"""Catalogue and allowlist are what they are on disk now; while one is broken nothing is allowed."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vx11.catalogue import allowlist, compose
from vx11.catalogue.allowlist import NotAllowed
from vx11.errors import InputError
from vx11.madre.services import FileServices
from vx11.windows.errors import ServiceUnknown


class Bundle:
    """A catalogue and an allowlist that a test changes."""

    def __init__(self, folder: Path) -> None:
        self.catalogue = folder / "catalogue.yml"
        self.allowlist = folder / "allowlist.yml"

    def write(self, image: str = "a", more: str = "") -> None:
        text = f"services:\n  web: {{image: '{image}'}}\n  db: {{image: b}}\n{more}"
        self.replace(self.catalogue, text)

    def allow(self, *names: str) -> None:
        allowlist.update(self.allowlist, compose.load(self.catalogue, {}), names)

    def replace(self, path: Path, text: str) -> None:
        partial = path.with_suffix(".new")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    made = Bundle(tmp_path)
    made.write()
    made.allow("web")
    return made


@pytest.fixture
def services(bundle: Bundle) -> FileServices:
    return FileServices(bundle.catalogue, bundle.allowlist)


def test_what_is_allowed_is_found_and_nothing_else(services: FileServices) -> None:
    assert services.get("web").entry.image == "a"
    with pytest.raises(NotAllowed, match="the service db is not on the allowlist"):
        services.get("db")
    with pytest.raises(ServiceUnknown, match="the catalogue has no service nobody"):
        services.get("nobody")


def test_a_changed_entry_is_refused_until_it_is_allowed_again(services: FileServices, bundle: Bundle) -> None:
    bundle.write(image="a2")
    with pytest.raises(NotAllowed, match="the catalogue entry of web is not the one that was allowed"):
        services.get("web")
    bundle.allow("web")
    assert services.get("web").entry.image == "a2"


def test_what_is_newly_allowed_can_be_opened_at_once(services: FileServices, bundle: Bundle) -> None:
    bundle.allow("db")
    assert services.get("db")


def test_a_change_in_place_is_seen_too(services: FileServices, bundle: Bundle) -> None:
    text = bundle.catalogue.read_text(encoding="utf-8")
    bundle.catalogue.write_text(text.replace("image: 'a'", "image: 'z'"), encoding="utf-8")
    os.utime(bundle.catalogue, ns=(0, bundle.catalogue.stat().st_mtime_ns + 1))
    with pytest.raises(NotAllowed):
        services.get("web")


BROKEN = [
    "services: [",
    "services: {}\nservices: {}\n",
    "",
    "services:\n  web: {image: a, privileged: true}\n",
    "services:\n  web: {image: '${UNSET_VARIABLE_OF_TESTS}'}\n",
    "services:\n  web: {image: a, x-note: .nan}\n",
    "services:\n  web: {image: a}\n  {{ other }}: {image: b}\n",
]


@pytest.mark.parametrize("text", BROKEN)
def test_a_catalogue_that_breaks_allows_nothing_until_it_is_mended(
    services: FileServices, bundle: Bundle, text: str
) -> None:
    bundle.replace(bundle.catalogue, text)
    for _ in range(2):  # the second time the file has been looked at already
        for name in ("web", "db", "nobody"):
            with pytest.raises(NotAllowed, match=r"nothing may be opened until this is mended: .*catalogue\.yml"):
                services.get(name)
    bundle.write()
    assert services.get("web").entry.image == "a"


def test_an_allowlist_that_breaks_allows_nothing_until_it_is_mended(services: FileServices, bundle: Bundle) -> None:
    before = bundle.allowlist.read_text(encoding="utf-8")
    bundle.replace(bundle.allowlist, "version: 1\n")
    with pytest.raises(NotAllowed, match=r"nothing may be opened until this is mended: .*allowlist\.yml"):
        services.get("web")
    bundle.replace(bundle.allowlist, before)
    assert services.get("web")


def test_a_file_that_goes_away_allows_nothing_until_it_is_back(services: FileServices, bundle: Bundle) -> None:
    before = bundle.allowlist.read_text(encoding="utf-8")
    bundle.allowlist.unlink()
    with pytest.raises(NotAllowed, match="No such file"):
        services.get("web")
    bundle.replace(bundle.allowlist, before)
    assert services.get("web")


def test_files_are_read_again_only_when_they_have_changed(
    services: FileServices, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    load = compose.load

    def counted(path: Path) -> compose.Catalogue:
        read.append(path)
        return load(path)

    monkeypatch.setattr(compose, "load", counted)
    for _ in range(5):
        services.get("web")
    assert read == []
    bundle.write(more="volumes: {data: }\n")
    for _ in range(5):
        services.get("web")
    assert read == [bundle.catalogue]


def test_many_ask_while_the_file_changes(services: FileServices, bundle: Bundle) -> None:
    one_writer = threading.Lock()

    def ask(number: int) -> str:
        if number % 10 == 0:
            with one_writer:
                bundle.write(more=f"x-n: {number}\n")
        return str(services.get("web").entry.image)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(100))) == {"a"}


@pytest.mark.parametrize("which", ["catalogue", "allowlist"])
def test_a_file_that_is_wrong_at_the_start_is_told_at_once(bundle: Bundle, which: str) -> None:
    bundle.replace(getattr(bundle, which), "nothing: good\n")
    with pytest.raises(InputError, match=rf"{which}\.yml"):
        FileServices(bundle.catalogue, bundle.allowlist)


def test_what_is_allowed_and_cannot_be_opened_is_known_before_anybody_asks(
    services: FileServices, bundle: Bundle
) -> None:
    assert services.problems() == {}
    bundle.write(image="z")
    assert services.problems() == {"web": "the catalogue entry of web is not the one that was allowed"}
    bundle.replace(bundle.catalogue, "services:\n  db: {image: b}\n")
    assert services.problems() == {"web": "the catalogue has no service web, which is on the allowlist"}
    bundle.replace(bundle.catalogue, "services: [\n")
    assert list(services.problems()) == ["catalogue and allowlist"]
    bundle.write()
    assert services.problems() == {}


def test_what_answers_operators_is_what_may_be_opened_now(services: FileServices, bundle: Bundle) -> None:
    assert services.language() is None
    bundle.write(more="  llm: {image: c, ports: [80], x-vx11: {operator: true}}\n")
    assert services.language() is None
    bundle.allow("llm")
    assert services.language() == "llm"
    bundle.write(more="  llm: {image: d, ports: [80], x-vx11: {operator: true}}\n")
    assert services.language() is None
    bundle.allow("llm")
    bundle.replace(bundle.allowlist, "version: 1\n")
    assert services.language() is None


def test_what_a_service_is_built_from_is_looked_at_before_every_open(bundle: Bundle) -> None:
    folder = bundle.catalogue.parent / "src"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM a\n", encoding="utf-8")
    bundle.replace(bundle.catalogue, "services:\n  web: {image: a, build: {context: src}}\n")
    bundle.allow("web")
    services = FileServices(bundle.catalogue, bundle.allowlist)
    assert services.get("web")
    (folder / "Dockerfile").write_text("FROM b\n", encoding="utf-8")
    with pytest.raises(NotAllowed, match="not the one that was allowed") as refused:
        services.get("web")
    assert refused.value.keys == ("files of build",)
    bundle.allow("web")
    assert services.get("web")
