"""Digests of what an entry stands for: they see every change of what is built or run, and nothing else."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vx11.catalogue import compose, contents
from vx11.errors import InputError

Write = Callable[[str, str], Path]
BUILT = "services:\n  web: {image: a, build: {context: src}}\n"


class Bundle:
    """A catalogue whose one service is built from a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.allowlist = folder / "allowlist.yml"
        self.entry(BUILT)
        self.write("src/Dockerfile", "FROM scratch\n")
        self.write("src/app/main.py", "print(1)\n")

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def entry(self, text: str) -> None:
        self.write("catalogue.yml", text)

    def digest(self) -> str:
        service = compose.load(self.folder / "catalogue.yml", {}).services["web"]
        return contents.digest(service, self.allowlist)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path)


def rewrite(bundle: Bundle) -> None:
    bundle.write("src/app/main.py", "print(2)\n")


def rewrite_in_place(bundle: Bundle) -> None:
    """Same size, and the times of before."""
    path = bundle.folder / "src/app/main.py"
    status = path.stat()
    path.write_text("print(3)\n", encoding="utf-8")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def mark_as_program(bundle: Bundle) -> None:
    (bundle.folder / "src/app/main.py").chmod(0o755)


def lead_elsewhere(bundle: Bundle) -> None:
    path = bundle.folder / "src/app/main.py"
    path.rename(bundle.folder / "src/app/real.py")
    path.symlink_to("real.py")


CHANGES: list[Callable[[Bundle], object]] = [
    rewrite,
    rewrite_in_place,
    mark_as_program,
    lead_elsewhere,
    lambda bundle: bundle.write("src/Dockerfile", "FROM another\n"),
    lambda bundle: bundle.write("src/more", ""),
    lambda bundle: bundle.write("src/.dockerignore", "app\n"),
    lambda bundle: (bundle.folder / "src/app/main.py").unlink(),
    lambda bundle: (bundle.folder / "src/app/main.py").rename(bundle.folder / "src/app/other.py"),
    lambda bundle: (bundle.folder / "src/empty").mkdir(),
    lambda bundle: (bundle.folder / "src").rename(bundle.folder / "gone"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_digest_sees_every_change_of_what_is_built(bundle: Bundle, change: Callable[[Bundle], object]) -> None:
    before = bundle.digest()
    assert bundle.digest() == before
    change(bundle)
    assert bundle.digest() != before


def test_a_remembered_digest_is_not_used_for_a_file_that_has_changed(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    monkeypatch.setattr(contents, "_SETTLED", 0)
    read: list[Path] = []
    digest = contents._sha256

    def counted(path: Path) -> str:
        read.append(path)
        return digest(path)

    monkeypatch.setattr(contents, "_sha256", counted)
    before = bundle.digest()
    known = len(read)
    assert bundle.digest() == before
    assert len(read) == known
    path = bundle.folder / "src/app/main.py"
    changed = path.stat().st_ctime_ns
    eventually(lambda: rewrite_in_place(bundle) or path.stat().st_ctime_ns != changed)
    assert bundle.digest() != before
    assert len(read) == known + 1


def test_a_digest_does_not_see_what_is_not_sent_to_whoever_builds(bundle: Bundle) -> None:
    bundle.write("src/.dockerignore", "# not these\n**/__pycache__\n  *.log  \n!keep.log\n")
    before = bundle.digest()
    bundle.write("src/app/__pycache__/main.pyc", "x")
    bundle.write("src/a.log", "x")
    bundle.write("elsewhere", "x")
    (bundle.folder / "src/app/main.py").chmod(0o600)
    assert bundle.digest() == before
    bundle.write("src/keep.log", "x")
    assert bundle.digest() != before


def test_the_allowlist_may_lie_in_the_context_and_a_file_of_its_name_elsewhere_counts(bundle: Bundle) -> None:
    bundle.entry(BUILT.replace("src", "."))
    before = bundle.digest()
    bundle.write("allowlist.yml", "version: 1\n")
    assert bundle.digest() == before
    bundle.write("src/allowlist.yml", "version: 1\n")
    assert bundle.digest() != before


def test_a_dockerfile_outside_of_its_context_counts(bundle: Bundle) -> None:
    bundle.entry("services:\n  web: {image: a, build: {context: src, dockerfile: ../Other}}\n")
    bundle.write("Other", "FROM a\n")
    before = bundle.digest()
    bundle.write("Other", "FROM b\n")
    assert bundle.digest() != before


@pytest.mark.parametrize(
    "entry",
    [
        "{image: a, env_file: [src/Dockerfile]}",
        "{image: a, x-vx11: {process: {command: ['{python}', src/Dockerfile]}}}",
    ],
)
def test_files_that_it_reads_or_runs_count(bundle: Bundle, entry: str) -> None:
    bundle.entry(f"services:\n  web: {entry}\n")
    before = bundle.digest()
    bundle.write("src/app/main.py", "print(2)\n")
    assert bundle.digest() == before
    bundle.write("src/Dockerfile", "A=1\n")
    assert bundle.digest() != before


@pytest.mark.parametrize("word", ["print(1)\n" * 1000, "a\\0b", "src", "../" * 2000, "/etc/hostname"])
def test_a_word_that_names_no_file_of_the_bundle_is_a_word(bundle: Bundle, word: str) -> None:
    text = json.dumps({"services": {"web": {"image": "a", "x-vx11": {"process": {"command": ["{python}", word]}}}}})
    bundle.entry(text)
    service = compose.load(bundle.folder / "catalogue.yml", {}).services["web"]
    assert contents.files(service, bundle.allowlist) == {}


def test_what_is_no_file_is_never_read(bundle: Bundle) -> None:
    before = bundle.digest()
    os.mkfifo(bundle.folder / "src/pipe")
    assert bundle.digest() != before


def test_code_is_no_file(bundle: Bundle) -> None:
    code = "import time; " * 500
    bundle.entry(f"services:\n  web: {{image: a, x-vx11: {{process: {{command: ['{{python}}', -c, '{code}']}}}}}}\n")
    assert bundle.digest()


def test_a_name_that_is_no_text_counts_too(bundle: Bundle) -> None:
    before = bundle.digest()
    (bundle.folder / "src" / os.fsdecode(b"\xff\xfe")).touch()
    (bundle.folder / "src" / "link").symlink_to(os.fsdecode(b"\xff"))
    assert bundle.digest() != before


def test_a_link_is_not_followed_out_of_the_context(bundle: Bundle) -> None:
    outside = bundle.write("outside/file", "a")
    (bundle.folder / "src/link").symlink_to(outside)
    (bundle.folder / "src/folder").symlink_to(outside.parent)
    before = bundle.digest()
    outside.write_text("b", encoding="utf-8")
    assert bundle.digest() == before


def test_a_pattern_that_is_none_is_told(bundle: Bundle) -> None:
    bundle.write("src/.dockerignore", "[z-a]\n")
    with pytest.raises(InputError, match=r"src/\.dockerignore: a pattern in it cannot be read: bad character range"):
        bundle.digest()


def test_a_file_that_cannot_be_read_is_told(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    service = compose.load(bundle.folder / "catalogue.yml", {}).services["web"]

    def denied(path: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "lstat", denied)
    with pytest.raises(InputError, match="web has no digest, since a file of it cannot be read: Permission denied"):
        contents.digest(service, bundle.allowlist)
