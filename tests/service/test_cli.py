"""The command line against a real cell: what it prints, and how it ends."""

import json
import os
import secrets
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml

from vx11 import __version__, cli
from vx11.conductor.cell import Cell

NOBODY = "http://127.0.0.1:1"
KEY = "ab" * 32
Done = subprocess.CompletedProcess[str]
Vx11 = Callable[..., Done]


def _vx11(*arguments: str | Path, **environment: str) -> Done:
    """The command, to its end; of this environment's own settings it sees only those that are given."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("VX11_")} | environment
    command = [sys.executable, "-m", "vx11", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, check=False)


@pytest.fixture(scope="module")
def cell(
    make_bundle: Callable[..., Path],
    make_entry: Callable[..., dict[str, Any]],
    web: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cell]:
    """One cell for all; each test leaves it in SOLO_MADRE. `blocked` is not on its allowlist."""
    talker = make_entry("import time; print('one'); print('two', flush=True); time.sleep(600)")
    name = f"t-{secrets.token_hex(4)}"
    bundle = make_bundle({"web": web, "talker": talker, "blocked": web}, ["web", "talker"])
    found = Cell(name, bundle, "process", tmp_path_factory.mktemp("evidence"))
    try:
        found.start()
        yield found
    finally:
        found.stop()
        assert found.purge() == []


@pytest.fixture
def on_cell(cell: Cell) -> Iterator[Vx11]:
    """`on_cell("window", …)` is the command of somebody who may do everything in the cell."""
    environment = {"VX11_URL": cell.url, "VX11_TOKEN": cell.token}
    yield lambda *arguments, **more: _vx11(*arguments, **(environment | more))
    with cell.madre() as madre:
        assert madre.solo_madre()["solo_madre"]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A good key."""
    return _write(tmp_path / "key", KEY, 0o600)


@pytest.fixture
def catalogue(tmp_path: Path, web: dict[str, Any]) -> Path:
    """A good catalogue, with `web` and `api`."""
    return _write(tmp_path / "catalogue.yml", yaml.safe_dump({"services": {"web": web, "api": web}}))


@pytest.fixture
def serve(tmp_path: Path, key: Path, catalogue: Path) -> Vx11:
    """`serve("--listen", "nonsense")`: a madre that would start were it not for what is given."""
    _write(tmp_path / "allowlist.yml", "version: 1\nservices: {}\n")
    good = {"catalogue": catalogue, "allowlist": tmp_path / "allowlist.yml", "key": key, "listen": "127.0.0.1:0"}
    good |= {name: tmp_path / name for name in ("state", "data", "evidence")}

    def run(*arguments: str | Path) -> Done:
        given = {str(word) for word in arguments}
        flags = [word for name, value in good.items() if f"--{name}" not in given for word in (f"--{name}", value)]
        return _vx11("serve", "--cell", "t-never", *flags, *arguments)

    return run


def _write(path: Path, text: str, mode: int = 0o644) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def _answer(done: Done) -> Any:
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def _said(done: Done) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def _refused(done: Done, code: int, *sentences: str) -> str:
    """Ends with this code, says why once, and shows nothing of its inside."""
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("vx11: ")
    assert all(sentence in line for sentence in sentences), line
    return line


def _misused(done: Done, *words: str) -> None:
    """Wrong usage: the command line itself is at fault."""
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "Usage:" in done.stderr
    assert all(word in done.stderr for word in words), done.stderr


# windows


def test_a_window_for_people(on_cell: Vx11) -> None:
    assert _said(on_cell("window", "open", "web", "--ttl", "60")).startswith("web open for ")
    again = _said(on_cell("window", "open", "web", "--ttl", "60"))
    assert "unchanged  http://127.0.0.1:" in again
    assert ", held" in _said(on_cell("window", "hold", "web"))
    assert ", held" not in _said(on_cell("window", "release", "web"))
    assert "web open for 4 min 59 s" in _said(on_cell("window", "extend", "web", "--ttl", "299.4s"))
    closed = _said(on_cell("window", "close", "web"))
    assert closed.startswith("web closed (requested) after ")


def test_a_window_for_programs(on_cell: Vx11) -> None:
    opened = _answer(on_cell("window", "open", "web", "--ttl", "1m", "--hold", "--json"))
    name = opened["window_id"]
    assert (opened["service"], opened["state"], opened["hold"], opened["changed"]) == ("web", "open", True, True)
    assert opened["remaining_s"] > 50
    assert not _answer(on_cell("window", "hold", name, "--json"))["changed"]
    released = _answer(on_cell("window", "release", name, "--json"))
    assert (released["hold"], released["changed"]) == (False, True)
    extended = _answer(on_cell("window", "extend", name, "--ttl", "2m", "--json"))
    assert 110 < extended["remaining_s"] <= 120
    closed = _answer(on_cell("window", "close", name, "--force", "--json"))
    assert (closed["window_id"], closed["state"], closed["reason"]) == (name, "closed", "forced")


def test_open_without_waiting(on_cell: Vx11) -> None:
    opened = _answer(on_cell("window", "open", "web", "--ttl", "60", "--no-wait", "--json"))
    assert opened["state"] in ("opening", "open")


def test_min_remaining_extends(on_cell: Vx11) -> None:
    _answer(on_cell("window", "open", "web", "--ttl", "30", "--json"))
    same = _answer(on_cell("window", "open", "web", "--ttl", "90", "--min-remaining", "5", "--json"))
    assert not same["changed"]
    more = _answer(on_cell("window", "open", "web", "--ttl", "90", "--min-remaining", "60s", "--json"))
    assert more["changed"]
    assert 80 < more["remaining_s"] <= 90


def test_list(on_cell: Vx11) -> None:
    assert "SOLO_MADRE: yes" in _said(on_cell("window", "list"))
    opened = _answer(on_cell("window", "open", "web", "--ttl", "60", "--json"))
    text = _said(on_cell("window", "list"))
    assert "SOLO_MADRE: no" in text
    assert all(word in text for word in ("web", "open", opened["window_id"], *opened["endpoints"]))
    status = _answer(on_cell("window", "list", "--json"))
    assert [window["window_id"] for window in status["windows"]] == [opened["window_id"]]
    assert (status["solo_madre"], status["watchdog"]) == (False, True)
    _said(on_cell("window", "close", "web"))
    assert opened["window_id"] not in _said(on_cell("window", "list"))
    lately = _said(on_cell("window", "list", "--closed"))
    assert f"{opened['window_id']}" in lately
    assert "closed (requested)" in lately
    assert opened["window_id"] in {
        item["window_id"] for item in _answer(on_cell("window", "list", "--closed", "--json"))["closed"]
    }


def test_logs(on_cell: Vx11, eventually: Callable[..., Any]) -> None:
    opened = _answer(on_cell("window", "open", "talker", "--ttl", "60", "--json"))
    assert eventually(lambda: _said(on_cell("window", "logs", "talker"))) == "one\ntwo\n"
    assert _said(on_cell("window", "logs", opened["window_id"], "--tail", "1")) == "two\n"
    found = _answer(on_cell("window", "logs", "talker", "--json"))
    assert found == {"window_id": opened["window_id"], "service": "talker", "lines": ["one", "two"]}


def test_solo_madre(on_cell: Vx11) -> None:
    assert _said(on_cell("solo-madre", "--check")) == "SOLO_MADRE: yes\n"
    opened = _answer(on_cell("window", "open", "web", "--ttl", "60", "--json"))
    checked = on_cell("solo-madre", "--check")
    assert checked.returncode == 1
    assert "runs: " in checked.stdout
    assert "web" in checked.stdout
    assert checked.stdout.endswith("SOLO_MADRE: no\n")
    as_json = on_cell("solo-madre", "--check", "--json")
    assert as_json.returncode == 1
    assert not json.loads(as_json.stdout)["solo_madre"]
    assert _answer(on_cell("window", "list", "--json"))["windows"] != []
    assert _said(on_cell("solo-madre")) == f"stopped web ({opened['window_id']})\nSOLO_MADRE: yes\n"
    again = _answer(on_cell("solo-madre", "--json"))
    assert (again["solo_madre"], again["changed"]) == (True, False)


# what madre refuses, and madre that is not there


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["close", "web"], "web"),
        (["close", "5b7a3c1e-0000-4000-8000-000000000000"], "5b7a3c1e"),
        (["hold", "web"], "web"),
        (["release", "web"], "web"),
        (["extend", "web", "--ttl", "1m"], "web"),
        (["logs", "nowhere"], "nowhere"),
        (["open", "blocked"], "not on the allowlist"),
    ],
)
def test_what_madre_refuses_ends_with_1(on_cell: Vx11, arguments: list[str], sentence: str) -> None:
    _refused(on_cell("window", *arguments), 1, sentence)


def test_a_name_that_the_catalogue_does_not_have_is_wrong_input(on_cell: Vx11) -> None:
    _refused(on_cell("window", "open", "nowhere"), 2, "nowhere")


@pytest.mark.parametrize("token", ["nonsense", "a.b.c"])
def test_a_token_that_is_none(on_cell: Vx11, token: str) -> None:
    line = _refused(on_cell("window", "list", VX11_TOKEN=token), 1)
    assert token not in line


COMMANDS_OF_A_WINDOW = [
    ["window", "open", "web"],
    ["window", "close", "web"],
    ["window", "hold", "web"],
    ["window", "release", "web"],
    ["window", "extend", "web", "--ttl", "5m"],
    ["window", "list"],
    ["window", "list", "--watch"],
    ["window", "logs", "web"],
    ["solo-madre"],
]


@pytest.mark.parametrize("arguments", COMMANDS_OF_A_WINDOW, ids=" ".join)
def test_nobody_answers(arguments: list[str]) -> None:
    _refused(_vx11(*arguments, "--url", NOBODY, VX11_TOKEN="some"), 3, NOBODY)


@pytest.mark.parametrize("arguments", COMMANDS_OF_A_WINDOW, ids=" ".join)
def test_no_token(arguments: list[str]) -> None:
    _refused(_vx11(*arguments, "--url", NOBODY), 2, "VX11_TOKEN")


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://127.0.0.1", "http://127.0.0.1:nonsense"])
def test_an_url_that_is_none(url: str) -> None:
    _refused(_vx11("window", "list", "--url", url, "--token", "some"), 2, url, "http://127.0.0.1:8000")


# keys and tokens


def test_a_key_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "new"
    assert str(path) in _said(_vx11("token", "new-key", "--key", path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    made = path.read_text(encoding="ascii")
    assert len(bytes.fromhex(made)) == 32
    _refused(_vx11("token", "new-key", "--key", path), 2, str(path))
    assert path.read_text(encoding="ascii") == made
    _refused(_vx11("token", "new-key", "--key", tmp_path / "nowhere" / "key"), 2, "nowhere")


def test_an_issued_token_works(cell: Cell, on_cell: Vx11) -> None:
    issued = _said(_vx11("token", "issue", "--sub", "somebody", "--key", cell.folder / "key", "--cell", cell.name))
    assert issued.count("\n") == 1
    opened = _answer(on_cell("window", "open", "web", "--ttl", "60", "--json", VX11_TOKEN=issued.strip()))
    assert opened["opened_by"] == "somebody"


@pytest.mark.parametrize(
    ("more", "arguments"),
    [
        ([], ["window", "list"]),
        (["--cell", "another"], ["window", "list"]),
        (["--cell", "{cell}", "--scope", "power:read"], ["window", "open", "web"]),
        (["--cell", "{cell}", "--scope", "power:read power:write"], ["solo-madre"]),
    ],
    ids=["default cell", "other cell", "may only read", "may not touch the system"],
)
def test_an_issued_token_works_for_nothing_else(
    cell: Cell, on_cell: Vx11, more: list[str], arguments: list[str]
) -> None:
    words = [word.format(cell=cell.name) for word in more]
    issued = _said(_vx11("token", "issue", "--sub", "somebody", "--key", cell.folder / "key", *words))
    _refused(on_cell(*arguments, VX11_TOKEN=issued.strip()), 1)


def test_a_scope_that_is_none(key: Path) -> None:
    line = _refused(_vx11("token", "issue", "--sub", "me", "--key", key, "--scope", "power:read power:mad"), 2)
    assert "power:mad" in line
    assert "power:write" in line


@pytest.mark.parametrize("ttl", ["soon", "", "-5m", "0"])
def test_a_ttl_of_a_token_that_is_none(key: Path, ttl: str) -> None:
    _misused(_vx11("token", "issue", "--sub", "me", "--key", key, "--ttl", ttl), "--ttl")


@pytest.mark.parametrize(
    ("text", "mode", "sentence"),
    [
        (KEY, 0o644, "chmod 600"),
        (KEY, 0o640, "mode 0640"),
        (KEY[:-1], 0o600, "64 hexadecimal characters"),
        ("", 0o600, "64 hexadecimal characters"),
        ("é" * 32, 0o600, "64 hexadecimal characters"),
        (None, 0o600, "vx11 token new-key"),
    ],
    ids=["for all to read", "for the group to read", "short", "empty", "not ASCII", "missing"],
)
def test_a_key_that_is_none(serve: Vx11, key: Path, text: str | None, mode: int, sentence: str) -> None:
    if text is None:
        key.unlink()
    else:
        _write(key, text, mode)
    for done in (serve(), _vx11("token", "issue", "--sub", "me", "--key", key)):
        line = _refused(done, 2, str(key), sentence)
        assert KEY[:-1] not in line


def test_a_token_that_is_revoked_is_refused_from_then_on(cell: Cell, on_cell: Vx11) -> None:
    of_cell = ["--key", cell.folder / "key", "--cell", cell.name]
    one, other = (_said(_vx11("token", "issue", "--sub", "somebody", *of_cell)).strip() for _ in range(2))
    _said(on_cell("window", "list", VX11_TOKEN=one))
    revoked = _said(_vx11("token", "revoke", one, "--key", cell.folder / "key"))
    assert revoked.startswith("revoked ")
    assert revoked.endswith(" of somebody\n")
    _refused(on_cell("window", "list", VX11_TOKEN=one), 1, "invalid or expired token")
    _said(on_cell("window", "list", VX11_TOKEN=other))
    assert "was revoked before" in _said(_vx11("token", "revoke", one, "--key", cell.folder / "key"))
    token_id = _answer(_vx11("token", "inspect", other, "--json", *of_cell))["claims"]["jti"]
    assert _said(_vx11("token", "revoke", token_id, "--key", cell.folder / "key")) == f"revoked {token_id}\n"
    _refused(on_cell("window", "list", VX11_TOKEN=other), 1)
    inspected = _vx11("token", "inspect", other, *of_cell)
    assert (inspected.returncode, inspected.stdout.splitlines()[-1]) == (1, "valid    no: it was revoked")


def test_a_key_is_rotated_while_madre_runs(cell: Cell, on_cell: Vx11) -> None:
    key = cell.folder / "key"
    before = key.read_text(encoding="ascii")
    try:
        assert "tokens of the former key still count" in _said(_vx11("token", "rotate", "--key", key))
        _said(on_cell("window", "list"))
        new = _said(_vx11("token", "issue", "--sub", "somebody", "--key", key, "--cell", cell.name)).strip()
        assert "no token that was issued before counts" in _said(_vx11("token", "rotate", "--drop", "--key", key))
        for token in (cell.token, new):
            _refused(on_cell("window", "list", VX11_TOKEN=token), 1, "invalid or expired token")
    finally:
        _write(key, before, 0o600)
    _said(on_cell("window", "list"))


def test_a_token_is_shown_with_what_is_wrong_with_it(key: Path) -> None:
    token = _said(_vx11("token", "issue", "--sub", "anna", "--key", key)).strip()
    shown = dict(line.split(maxsplit=1) for line in _said(_vx11("token", "inspect", token, "--key", key)).splitlines())
    assert set(shown) == {"for", "scopes", "cell", "issued", "expires", "id", "key", "valid"}
    assert (shown["for"], shown["scopes"], shown["valid"]) == ("anna", "power:read power:write", "yes")
    assert "(in 1" in shown["expires"]
    answer = _answer(_vx11("token", "inspect", "--json", "--key", key, VX11_TOKEN=token))
    assert (answer["valid"], answer["why"], answer["claims"]["sub"]) == (True, None, "anna")
    elsewhere = _vx11("token", "inspect", token, "--key", key, "--cell", "another")
    assert (elsewhere.returncode, elsewhere.stderr) == (1, "")
    assert "valid    no: Audience doesn't match" in elsewhere.stdout


def test_what_is_no_token_is_shown_and_revoked_by_nobody(key: Path, tmp_path: Path) -> None:
    shown = _vx11("token", "inspect", "a.b.c", "--key", key)
    assert (shown.returncode, shown.stdout.startswith("valid    no: ")) == (1, True)
    _vx11("token", "new-key", "--key", tmp_path / "other")
    foreign = _said(_vx11("token", "issue", "--sub", "anna", "--key", tmp_path / "other")).strip()
    for token in ("a.b.c", foreign):
        _refused(_vx11("token", "revoke", token, "--key", key), 2, "is not signed by a key of")
    _refused(_vx11("token", "revoke", "", "--key", key), 2, "there is no token")
    _refused(_vx11("token", "revoke", "some-id", "--key", tmp_path / "nowhere"), 2, "vx11 token new-key")
    assert not (tmp_path / "key.revoked").exists()


def test_a_core_service_gets_no_token_to_open_windows(key: Path) -> None:
    _refused(_vx11("token", "issue", "--sub", "watchdog", "--key", key), 2, "is a core service")
    _said(_vx11("token", "issue", "--sub", "watchdog", "--scope", "power:read", "--key", key))


def test_a_policy_that_would_allow_more_is_told_with_its_line(serve: Vx11, tmp_path: Path) -> None:
    path = _write(
        tmp_path / "policy.yml",
        "version: 1\nendpoints:\n"
        "  - {method: GET, path: /health, auth: none}\n"
        "  - {method: POST, path: /api/v1/windows/open, auth: required, scope: power:read}\n",
    )
    _refused(serve("--policy", path), 2, f"{path}:4: ", "needs a token with the scope power:write")


# allowlists


def _allowlist(command: str, folder: Path, *more: str) -> Done:
    flags = ["--catalogue", folder / "catalogue.yml", "--allowlist", folder / "allowlist.yml"]
    return _vx11("allowlist", command, *flags, *more)


def test_the_life_of_an_allowlist(tmp_path: Path, catalogue: Path) -> None:
    assert _said(_allowlist("update", tmp_path)) == "added api\nadded web\n"
    assert "up to date" in _said(_allowlist("update", tmp_path))
    assert _said(_allowlist("check", tmp_path)) == "no difference\n"
    assert _answer(_allowlist("check", tmp_path, "--json")) == {}

    entries = yaml.safe_load(catalogue.read_text(encoding="utf-8"))
    entries["services"]["web"] = entries["services"]["web"] | {"command": ["python3", "-c", "something else"]}
    entries["services"]["new"] = entries["services"]["api"]
    _write(catalogue, yaml.safe_dump(entries))
    checked = _allowlist("check", tmp_path)
    assert checked.returncode == 1
    assert checked.stdout.startswith("new: not allowed\nweb: changed\n  command[1]: from ")
    assert checked.stdout.endswith("  command[2]: added, something else\n")
    done = _answer(_allowlist("update", tmp_path, "--json"))
    assert (list(done), done["web"]["what"]) == (["web"], "updated")
    assert {"key": "command[2]", "from": None, "to": "something else"} in done["web"]["changes"]
    assert _said(_allowlist("check", tmp_path)) == "new: not allowed\n"
    assert _said(_allowlist("update", tmp_path, "--service", "new")) == "added new\n"

    del entries["services"]["api"]
    _write(catalogue, yaml.safe_dump(entries))
    gone = _allowlist("check", tmp_path, "--json")
    assert (gone.returncode, json.loads(gone.stdout)) == (1, {"api": {"what": "not in the catalogue", "changes": []}})
    _refused(_allowlist("update", tmp_path), 2, "api", str(catalogue))


def test_a_new_allowlist_with_names(tmp_path: Path, catalogue: Path) -> None:
    assert _said(_allowlist("update", tmp_path, "--service", "api")) == "added api\n"
    assert _said(_allowlist("check", tmp_path)) == "web: not allowed\n"


def test_an_allowlist_of_what_is_not_there(tmp_path: Path, catalogue: Path) -> None:
    _refused(_allowlist("update", tmp_path, "--service", "nowhere"), 2, "nowhere")
    assert not (tmp_path / "allowlist.yml").exists()
    _refused(_allowlist("check", tmp_path), 2, "allowlist.yml")


def test_an_allowlist_that_cannot_be_written(tmp_path: Path, catalogue: Path) -> None:
    path = tmp_path / "nowhere" / "allowlist.yml"
    _refused(_vx11("allowlist", "update", "--catalogue", catalogue, "--allowlist", path), 2, str(path))


# bad input


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        (None, 0, "cannot be read"),
        ("services:\n  web: [\n", 3, "not valid YAML"),
        ("services:\n  web:\n    image: a\n    imagge: b\n", 4, "imagge"),
        ("services:\n  web:\n    image: a\n    image: b\n", 4, "twice"),
        ("just text", 0, "catalogue.yml"),
        ("", 0, "catalogue.yml"),
    ],
    ids=["missing", "broken", "unknown key", "key twice", "no mapping", "empty"],
)
def test_a_catalogue_that_is_none(
    serve: Vx11, tmp_path: Path, catalogue: Path, text: str | None, line: int, sentence: str
) -> None:
    if text is None:
        catalogue.unlink()
    else:
        _write(catalogue, text)
    where = f"{catalogue}:{line}: " if line else f"{catalogue}: "
    for done in (serve(), _allowlist("update", tmp_path)):
        _refused(done, 2, where, sentence)


def test_all_problems_are_told_at_once(serve: Vx11, catalogue: Path) -> None:
    _write(catalogue, "services:\n  web:\n    image: a\n    imagge: b\n  api:\n    image: a\n    cmd: b\n")
    done = serve()
    assert done.returncode == 2
    assert f"{catalogue}:4: " in done.stderr
    assert f"{catalogue}:7: " in done.stderr


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("cell: t-never\nlisten: 127.0.0.1:0\nlisten_on: 80\n", 3, "listen_on: unknown key"),
        ("cell: t-never\nengine: kvm\n", 2, "engine"),
        ("cell: t-never\nrate_limit: fast\n", 2, "rate_limit"),
        ("listen: nonsense\n", 1, "listen"),
        ("cell: Not A Name\n", 1, "cell"),
        ("\n- cell\n", 0, "config.yml"),
        ("cell: {\n", 2, "not valid YAML"),
        (None, 0, "cannot be read"),
    ],
)
def test_a_configuration_that_is_none(tmp_path: Path, text: str | None, line: int, sentence: str) -> None:
    path = tmp_path / "config.yml"
    if text is not None:
        _write(path, text)
    for command in ("serve", "watchdog"):
        _refused(_vx11(command, "--config", path), 2, f"{path}:{line}: " if line else f"{path}: ", sentence)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--listen", "nonsense"),
        ("--listen", "127.0.0.1:"),
        ("--listen", "127.0.0.1:70000"),
        ("--listen", ":8000"),
        ("--listen", "192.0.2.1:0"),
        ("--rate-limit", "fast"),
        ("--rate-limit", "0/min"),
        ("--rate-limit", "60/day"),
        ("--cell", "../up"),
        ("--cell", ""),
    ],
)
def test_a_flag_of_serve_that_is_none(serve: Vx11, tmp_path: Path, option: str, value: str) -> None:
    _refused(serve(option, value), 2, option.removeprefix("--").replace("-", "_") if value != "192.0.2.1:0" else value)


def test_a_port_that_is_taken(serve: Vx11, cell: Cell) -> None:
    address = cell.url.removeprefix("http://")
    _refused(serve("--listen", address), 2, address, "--listen")


def test_an_engine_that_is_none(serve: Vx11) -> None:
    _misused(serve("--engine", "kvm"), "--engine", "docker", "process")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["open", "web", "--ttl", "soon"], "ttl"),
        (["open", "web", "--ttl", "0"], "ttl"),
        (["open", "web", "--ttl=-5"], "ttl"),
        (["open", "web", "--ttl", "30h"], "1 h 00 min at most"),
        (["open", "web", "--min-remaining", "soon"], "min_remaining"),
        (["open", "web", "--memory", "lots"], "memory"),
        (["open", "web", "--cpu=-1"], "cpu"),
        (["open", "web", "--pids", "0"], "pids"),
        (["extend", "web", "--ttl", "soon"], "ttl"),
        (["logs", "web", "--tail", "0"], "tail"),
    ],
)
def test_a_value_that_is_none(on_cell: Vx11, arguments: list[str], field: str) -> None:
    _refused(on_cell("window", *arguments), 2, field)


def test_a_state_folder_that_is_none(serve: Vx11, tmp_path: Path) -> None:
    _write(tmp_path / "file", "")
    _refused(serve("--state", tmp_path / "file"), 3, "--state")


def test_a_watchdog_whose_state_folder_is_none(tmp_path: Path) -> None:
    path = _write(tmp_path / "file", "")
    done = _vx11("watchdog", "--state", path, "--cell", "t-never")
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert str(path / "t-never") in line
    assert "--state" in line


# usage


def _commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from _commands(below, (*path, name))


COMMANDS = list(_commands(typer.main.get_command(cli.app)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help(path: tuple[str, ...]) -> None:
    said = _said(_vx11(*path, "--help"))
    assert "Usage: " in said
    assert " ".join(path) in said
    assert "--help" in said


def test_all_commands_are_there() -> None:
    known = {" ".join(path) for path in COMMANDS}
    windows = ("open", "close", "hold", "release", "extend", "list", "logs")
    assert {f"window {name}" for name in windows} <= known
    assert {"serve", "watchdog", "run", "solo-madre", "token new-key", "token issue"} <= known
    assert {"token rotate", "token revoke", "token inspect"} <= known
    assert {"allowlist update", "allowlist check", "matrix validate", "matrix list"} <= known
    assert {"test run", "test result", "test cancel"} <= known


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_an_option_that_is_none(path: tuple[str, ...]) -> None:
    _misused(_vx11(*path, "--nonsense"), "--nonsense")


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["window", "nonsense"], ["window", "open"], ["window", "extend", "web"], ["token", "issue"]],
    ids=" ".join,
)
def test_wrong_usage(arguments: list[str]) -> None:
    _misused(_vx11(*arguments, VX11_TOKEN="some"))


def test_version() -> None:
    assert _said(_vx11("--version")) == f"vx11 {__version__}\n"
