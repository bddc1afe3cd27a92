"""How a madre is set up: a file, flags over it, and every problem at once."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vx11.errors import InputError
from vx11.madre import settings
from vx11.madre.settings import DEAD_AFTER_MS, DEFAULT_RATE, Gateway, Rate, Settings

Write = Callable[[str, str], Path]


def test_without_anything_the_defaults_of_the_specification_hold() -> None:
    found = settings.load(None, {})
    assert (found.engine, found.listen, found.cell) == ("auto", "127.0.0.1:8000", "default")
    assert found.rate_limit == DEFAULT_RATE == Rate(60, 60.0, 10)
    assert found.faults is False
    assert found.allowlist == Path("/etc/vx11/allowed_services.yaml")
    assert found.require_aud_jti


def test_paths_of_a_file_start_from_its_folder(write: Write, tmp_path: Path) -> None:
    path = write(
        "etc/madre.yml",
        "catalogue: c.yml\nallowlist: ../a.yml\nkey: /abs/key\nstate: state\nmatrices: m\ntests_evidence: t\n",
    )
    found = settings.load(path, {})
    assert found.catalogue == tmp_path / "etc" / "c.yml"
    assert found.allowlist == tmp_path / "etc" / ".." / "a.yml"
    assert found.key == Path("/abs/key")
    assert found.state == tmp_path / "etc" / "state"
    assert found.matrices == tmp_path / "etc" / "m"
    assert found.tests_evidence == tmp_path / "etc" / "t"


def test_so_do_those_of_its_gateway(write: Write, tmp_path: Path) -> None:
    gateway = "{url: 'http://host:8000', key: keys/gateway, certificate: /etc/pem}"
    chosen = settings.load(write("etc/madre.yml", f"gateway: {gateway}\nstate: /run/vx11\n"), {})
    assert chosen.gateway
    assert (chosen.gateway.key, chosen.gateway.certificate) == (tmp_path / "etc" / "keys/gateway", Path("/etc/pem"))
    link = chosen.link(chosen.gateway)
    assert (link.folder, link.madre) == (Path("/run/vx11/.link/default"), "127.0.0.1:8000")


def test_flags_come_before_the_file_and_start_from_where_they_are_given(write: Write) -> None:
    path = write("etc/madre.yml", "catalogue: c.yml\ncell: one\nrate_limit: off\n")
    found = settings.load(path, {"catalogue": Path("mine.yml"), "cell": "two"})
    assert (found.catalogue, found.cell, found.rate_limit) == (Path("mine.yml"), "two", None)


def test_an_empty_file_is_no_file(write: Write) -> None:
    assert settings.load(write("madre.yml", "# nothing\n"), {"cell": "two"}).cell == "two"


def test_every_problem_of_a_file_is_told_at_once(write: Write) -> None:
    path = write("madre.yml", "engine: podman\nlisten: 8000\ncell: Big Cell\nrate_limit: lots\ncatalog: c.yml\n")
    with pytest.raises(InputError) as refused:
        settings.load(path, {})
    told = sorted((problem.line, problem.message) for problem in refused.value.problems)
    assert [line for line, _ in told] == [1, 2, 3, 4, 5]
    starts = ["engine: has to be", "listen: ", "cell: ", "rate_limit: 'lots' is not a rate", "catalog: unknown"]
    for (_, message), start in zip(told, starts, strict=True):
        assert message.startswith(start)


def test_every_problem_of_flags_is_told_at_once() -> None:
    with pytest.raises(InputError) as refused:
        settings.load(None, {"listen": "8000", "cell": "A", "rate_limit": "x"})
    assert len(refused.value.problems) == 3
    assert "vx11 serve" in str(refused.value)


@pytest.mark.parametrize("text", ["[a]", "text", "5"])
def test_a_file_that_is_no_mapping_is_told(write: Write, text: str) -> None:
    with pytest.raises(InputError, match=r"madre\.yml: the document: has to be"):
        settings.load(write("madre.yml", text), {})


@pytest.mark.parametrize(
    ("written", "rate"),
    [
        ("60/min:10", Rate(60, 60.0, 10)),
        ("5/s:1", Rate(5, 1.0, 1)),
        ("1000/h", Rate(1000, 3600.0, 1000)),
        ("5/s:0", Rate(5, 1.0, 1)),
        ("off", None),
        (False, None),
        (None, None),
        (DEFAULT_RATE, DEFAULT_RATE),
    ],
)
def test_a_rate_is_read(written: object, rate: Rate | None) -> None:
    assert Rate.read(written) == rate


@pytest.mark.parametrize("written", ["", "60", "60/day", "0/min", "-1/s", "60/min:", "60/min:x", True, 60, "60 / min"])
def test_what_is_no_rate_is_refused_with_an_example(written: object) -> None:
    with pytest.raises(ValueError, match=r"is not a rate; write REQUESTS/PERIOD:BURST such as 60/min:10, or off"):
        Rate.read(written)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:8000", "localhost:80", "0.0.0.0:65535"])
def test_an_address_is_host_and_port(listen: str) -> None:
    assert Settings(listen=listen).listen == listen


@pytest.mark.parametrize("listen", ["", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "8000"])
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(ValueError, match="is not ADDRESS:PORT, such as"):
        Settings(listen=listen)


@pytest.mark.parametrize("cell", ["", "-a", "A", "a b", "a/b", "..", "a_b", "a" * 42, "a\n"])
def test_the_name_of_a_cell_can_be_a_folder_and_a_label(cell: str) -> None:
    with pytest.raises(ValueError, match="cell"):
        Settings(cell=cell)


@pytest.mark.parametrize(("address", "family"), [("127.0.0.1", socket.AF_INET), ("[::1]", socket.AF_INET6)])
def test_a_free_port_is_bound_and_answers_at_once(address: str, family: int) -> None:
    with Settings(listen=f"{address}:0").bind() as bound:
        assert bound.family == family
        assert bound.getsockname()[1] > 0
        assert bound.proto == socket.IPPROTO_TCP  # without it asyncio leaves Nagle's algorithm on


def test_who_takes_nothing_is_dropped_in_the_end() -> None:
    with Settings(listen="127.0.0.1:0").bind() as bound, socket.socket() as client:
        bound.listen()
        client.connect(bound.getsockname())
        accepted, _ = bound.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == DEAD_AFTER_MS


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InputError, match=f"cannot listen on {listen}: .*; choose another with --listen"):
            Settings(listen=listen).bind()


def test_an_address_that_cannot_be_found_is_told() -> None:
    with pytest.raises(InputError, match=r"cannot listen on 203\.0\.113\.1:8000"):
        Settings(listen="203.0.113.1:8000").bind()


def test_a_cell_has_folders_of_its_own(tmp_path: Path) -> None:
    common: dict[str, Any] = {"state": tmp_path / "s", "evidence": tmp_path / "e"}
    assert Settings(cell="one", **common).cell_state == tmp_path / "s" / "one"
    assert Settings(cell="one", **common).cell_evidence != Settings(cell="two", **common).cell_evidence
    assert Settings(cell="default", **common).cell_evidence == tmp_path / "e"


def test_tests_have_a_root_of_evidence_beside_that_of_their_cell(tmp_path: Path) -> None:
    common: dict[str, Any] = {"evidence": tmp_path / "e"}
    assert Settings(cell="default", **common).tests_root == tmp_path / "e" / "e2e"
    assert Settings(cell="one", **common).tests_root == tmp_path / "e" / "one" / "e2e"
    assert Settings(tests_evidence=tmp_path / "mine", **common).tests_root == tmp_path / "mine"


@pytest.mark.parametrize("uid", [0, 1000])
def test_defaults_fit_who_runs_it(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    monkeypatch.setattr("os.geteuid", lambda: uid)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    monkeypatch.setenv("XDG_DATA_HOME", "/home/anna/.local/share")
    found = [settings.default_state(), settings.default_data(), settings.default_evidence()]
    private = ["/run/user/1000/vx11", "/home/anna/.local/share/vx11", "/home/anna/.local/share/vx11/evidence"]
    assert [str(path) for path in found] == (["/run/vx11", "/var/lib/vx11", "/var/log/vx11"] if uid == 0 else private)


@pytest.mark.parametrize(
    ("listen", "certificate", "url"),
    [
        ("0.0.0.0:8000", None, "http://127.0.0.1:8000"),
        ("[::]:8000", None, "http://[::1]:8000"),
        ("192.0.2.7:8000", "entry.pem", "https://192.0.2.7:8000"),
    ],
)
def test_the_entry_is_reached_here_by_where_it_listens(listen: str, certificate: str | None, url: str) -> None:
    gateway = Gateway.model_validate({"listen": [listen], "url": "https://name", "certificate": certificate})
    assert Settings.entry_here(gateway) == url
