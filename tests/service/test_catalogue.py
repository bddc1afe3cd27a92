"""Catalogue and allowlist on disk decide about the next open, not about what is open."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

OPEN = "/api/v1/windows/open"
Problem = Callable[..., str]


@pytest.fixture
def files(bundle: Path) -> Iterator[dict[str, Path]]:
    """Catalogue and allowlist of the shared cells, which are as before after the test."""
    found = {name: bundle / f"{name}.yml" for name in ("catalogue", "allowlist")}
    before = {path: path.read_bytes() for path in found.values()}
    yield found
    for path, content in before.items():
        path.write_bytes(content)


def change(path: Path, edit: Callable[[Any], None]) -> None:
    """Edits a YAML file."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    edit(data)
    path.write_text(yaml.safe_dump(data), encoding="utf-8")


def test_an_entry_that_changed_is_refused_until_it_is_allowed_again(
    process_api: Any, problem: Problem, files: dict[str, Path]
) -> None:
    process_api.open(ttl=60)
    before = files["catalogue"].read_bytes()
    change(files["catalogue"], lambda data: data["services"]["web"].update(environment=["ADDED=1"]))
    for _ in range(2):
        detail = problem(process_api.post(OPEN, service="web"), 403, "service_not_allowed", "service")
        assert detail == "the catalogue entry of web is not the one that was allowed"
    assert process_api.open("other")["state"] == "open"
    assert process_api.close()["state"] == "closed"
    files["catalogue"].write_bytes(before)
    assert process_api.open()["state"] == "open"


def test_what_is_taken_off_the_allowlist_is_refused(process_api: Any, problem: Problem, files: dict[str, Path]) -> None:
    change(files["allowlist"], lambda data: data["services"].pop("web"))
    detail = problem(process_api.post(OPEN, service="web"), 403, "service_not_allowed", "service")
    assert detail == "the service web is not on the allowlist"


def test_what_is_put_into_both_can_be_opened_without_a_restart(process_api: Any, files: dict[str, Path]) -> None:
    def add(data: Any) -> None:
        data["services"]["web-2"] = data["services"]["web"]

    change(files["catalogue"], add)
    change(files["allowlist"], add)
    assert process_api.open("web-2")["state"] == "open"


def test_a_changed_entry_leaves_evidence_and_a_count_and_nothing_else(process_api: Any, files: dict[str, Path]) -> None:
    def counted() -> float:
        lines = process_api.http.get("/metrics").text.splitlines()
        found = [line for line in lines if line.startswith('vx11_opens_refused_total{reason="changed"}')]
        return float(found[0].split()[1]) if found else 0.0

    def left() -> tuple[list[str], Any]:
        folder = process_api.cell.folder
        names = sorted(str(path) for part in ("state", "data") for path in (folder / part).rglob("*"))
        return names, process_api.status(closed=True)["closed"]

    before, traces = counted(), left()
    change(files["catalogue"], lambda data: data["services"]["web"].update(environment={"ADDED": "1"}, read_only=True))
    assert process_api.post(OPEN, service="web").status_code == 403
    record = process_api.evidence()[-1]
    assert (record["action"], record["subject"], record["actor"]) == ("open_refused", "web", "conductor")
    assert (record["data"]["code"], record["data"]["reason"]) == ("service_not_allowed", "changed")
    assert {"environment.ADDED", "read_only"} <= set(record["data"]["keys"])
    assert counted() == before + 1
    assert left() == traces


def test_a_hangup_has_madre_look_at_once_and_tell_what_is_wrong(
    process_api: Any, files: dict[str, Path], eventually: Callable[..., Any]
) -> None:
    madre = process_api.cell.core["madre"]

    def told() -> Any:
        madre.send_signal(signal.SIGHUP)
        return [item["data"] for item in process_api.evidence() if item["action"] == "files_reread"]

    assert eventually(told)[-1] == {"asked": True, "problems": {}}
    change(files["catalogue"], lambda data: data["services"]["web"].update(read_only=True))
    wrong = {"web": "the catalogue entry of web is not the one that was allowed"}
    eventually(lambda: told()[-1]["problems"] == wrong)
    assert "vx11_file_problems 1.0" in process_api.http.get("/metrics").text
    assert madre.poll() is None


@pytest.mark.parametrize("name", ["catalogue", "allowlist"])
@pytest.mark.parametrize("broken", ["services: [", "", None], ids=["no YAML", "empty", "gone"])
def test_a_broken_file_refuses_opens_and_nothing_else(
    process_api: Any, problem: Problem, files: dict[str, Path], name: str, broken: str | None
) -> None:
    window = process_api.open(ttl=60)
    if broken is None:
        files[name].unlink()
    else:
        files[name].write_text(broken, encoding="utf-8")
    detail = problem(process_api.post(OPEN, service="other"), 403, "service_not_allowed")
    assert detail.startswith(f"nothing may be opened until this is mended: {files[name]}:")
    assert process_api.done("/api/v1/windows/extend", service="web", ttl=90)["changed"]
    assert process_api.get("/api/v1/windows/logs", window="web")["lines"]
    closed = process_api.close()
    assert (closed["window_id"], closed["state"]) == (window["window_id"], "closed")
    assert process_api.done("/api/v1/system/solo_madre")["solo_madre"]
