"""Faults over the API: off by default, behind a scope of their own, proven, and gone when the window is."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chains import whole
from vx11.client import MadreRefused
from vx11.conductor.cell import Cell
from vx11.engines.select import EngineName

FAULT = "/api/v1/windows/fault"
REVERTIBLE = ["pause", pytest.param("network_partition", marks=pytest.mark.root)]
Api = Any  # tests/service/conftest.py
WITHIN = 10.0


def inject(api: Api, kind: str, active: bool = True, **more: Any) -> Any:
    return api.done(FAULT, **({"service": "web"} | more), kind=kind, active=active)


def answers(window: dict[str, Any]) -> bool:
    try:
        return httpx.get(f"{window['endpoints'][0]}/health", timeout=0.5).status_code == 200
    except httpx.TransportError:
        return False


def about(api: Api, window: dict[str, Any]) -> list[Any]:
    """What evidence says of the faults of a window."""
    records = [record for record in api.evidence() if record["subject"] == window["window_id"]]
    return [record for record in records if record["action"].startswith("fault_")]


@pytest.mark.parametrize("kind", REVERTIBLE)
def test_a_fault_bites_and_is_taken_back(api: Api, kind: str) -> None:
    window = api.open()
    assert window["faults"] == []
    assert answers(window)
    bitten = inject(api, kind)
    assert (bitten["faults"], bitten["changed"], bitten["state"]) == ([kind], True, "open")
    assert bitten["proof"]
    assert not answers(window)
    assert [item["faults"] for item in api.status()["windows"]] == [[kind]]
    assert inject(api, kind)["changed"] is False
    healed = inject(api, kind, active=False, service=None, window_id=window["window_id"])
    assert (healed["faults"], healed["changed"]) == ([], True)
    assert healed["endpoints"] == window["endpoints"]
    api.until(lambda: answers(window), 2)
    assert inject(api, kind, active=False)["changed"] is False
    actions = [(record["action"], record["actor"]) for record in about(api, window)]
    bites, is_gone = (
        ("fault_intended", "fault_injected", "fault_effective"),
        ("fault_intended", "fault_reverted", "fault_gone"),
    )
    assert actions == [(action, "conductor") for action in (*bites, *bites, *is_gone, *is_gone)]
    assert about(api, window)[2]["data"] == {"service": "web", "fault": kind, "proof": bitten["proof"]}
    assert about(api, window)[8]["data"] == {"service": "web", "fault": kind, "proof": healed["proof"]}


def test_what_is_killed_closes_as_crashed(api: Api) -> None:
    window = api.open()
    killed = inject(api, "kill")
    assert (killed["state"], killed["reason"], killed["faults"]) == ("closed", "crashed", ["kill"])
    assert list(killed["proof"].values()) == ["is gone"]
    assert not answers(window)
    assert api.status()["solo_madre"]
    assert [record["action"] for record in about(api, window)] == [
        "fault_intended",
        "fault_injected",
        "fault_effective",
    ]


@pytest.mark.parametrize("kind", REVERTIBLE)
@pytest.mark.parametrize("way", ["close", "force", "expire", "solo_madre"])
def test_a_window_with_a_fault_closes_like_any_other(api: Api, kind: str, way: str) -> None:
    ttl = 6 if way == "expire" else 60
    window = api.open(ttl=ttl)
    inject(api, kind)
    if way == "solo_madre":
        assert api.done("/api/v1/system/solo_madre")["solo_madre"]
    elif way != "expire":
        api.close(force=way == "force")
    closed = api.in_state(window["window_id"], "closed", ttl + WITHIN)
    reasons = {"close": "requested", "force": "forced", "expire": "expired", "solo_madre": "solo_madre"}
    assert closed["reason"] == reasons[way]
    assert closed["close_ms"] < 3000
    assert closed["open_s"] < ttl + 2
    assert [record["action"] for record in about(api, window)][-2:] == ["fault_reverted", "fault_gone"]
    api.open()
    api.close()


@pytest.fixture
def lone_api(
    bundle: Path,
    start_cell: Callable[[Path, EngineName], Cell],
    engine_name: EngineName,
    caller: Callable[[Cell], Iterator[Api]],
) -> Iterator[Api]:
    """A cell on each engine, whose core the tests end. At its end nothing of it is left."""
    yield from caller(start_cell(bundle, engine_name))


@pytest.mark.parametrize("kind", REVERTIBLE)
def test_the_watchdog_closes_a_window_with_a_fault(lone_api: Api, kind: str) -> None:
    cell = lone_api.cell
    lone_api.until(lambda: lone_api.status()["watchdog"])
    window = lone_api.open(ttl=4)
    inject(lone_api, kind)
    lone_api.end("madre")
    lone_api.until(lambda: not any(found.alive for found in cell.engine.inventory(cell.name)), WITHIN)
    cell.start_madre()
    lone_api.connect()
    closed = lone_api.in_state(window["window_id"], "closed")
    assert closed["reason"] == "watchdog"
    assert closed["open_s"] < 4 + 1.5
    assert [record["action"] for record in about(lone_api, window)][-2:] == ["fault_reverted", "fault_gone"]
    assert [found for found in cell.engine.inventory(cell.name) if found.alive] == []


@pytest.mark.parametrize("kind", REVERTIBLE)
def test_a_later_madre_takes_back_what_an_earlier_one_injected(lone_api: Api, kind: str) -> None:
    window = lone_api.open()
    inject(lone_api, kind)
    lone_api.end("madre")
    assert not answers(window)
    lone_api.cell.start_madre()
    lone_api.connect()
    (known,) = lone_api.status()["windows"]
    assert (known["window_id"], known["faults"]) == (window["window_id"], [kind])
    assert not answers(window)
    assert inject(lone_api, kind, active=False)["faults"] == []
    lone_api.until(lambda: answers(window), 2)
    lone_api.close()
    assert whole(lone_api.evidence_path)


def test_a_kill_cannot_be_taken_back(process_api: Api, problem: Callable[..., str]) -> None:
    process_api.open()
    answer = process_api.post(FAULT, service="web", kind="kill", active=False)
    assert "cannot be taken back" in problem(answer, 409, "fault_not_possible")


def test_what_is_not_open_has_no_faults(process_api: Api, problem: Callable[..., str]) -> None:
    problem(process_api.post(FAULT, service="web", kind="pause", active=True), 404, "no_window")


@pytest.mark.root
def test_what_runs_in_the_network_of_the_host_is_not_cut_off(
    make_bundle: Callable[..., Path],
    web: dict[str, Any],
    start_cell: Callable[..., Cell],
    caller: Callable[..., Any],
    problem: Callable[..., str],
) -> None:
    open_to_all = web | {"x-vx11": web["x-vx11"] | {"process": web["x-vx11"]["process"] | {"network": "host"}}}
    for api in caller(start_cell(make_bundle({"web": open_to_all}), "process")):
        window = api.open()
        answer = api.post(FAULT, service="web", kind="network_partition", active=True)
        assert "has no network of its own" in problem(answer, 409, "fault_not_possible")
        assert api.status()["windows"][0]["faults"] == []
        assert answers(window)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "pause", "active": True}, "body"),
        ({"service": "web", "kind": "flood", "active": True}, "kind"),
        ({"service": "web", "kind": "pause"}, "active"),
    ],
)
def test_a_wrong_request_is_told(
    process_api: Api, problem: Callable[..., str], body: dict[str, Any], field: str
) -> None:
    problem(process_api.post(FAULT, **body), 422, "invalid_request", field)


def test_it_needs_a_scope_of_its_own(process_api: Api, problem: Callable[..., str]) -> None:
    process_api.open()
    token = process_api.token(scopes=("power:read", "power:write", "system:write"))
    headers = {"Authorization": f"Bearer {token}"}
    body = {"service": "web", "kind": "pause", "active": True}
    answer = httpx.post(f"{process_api.cell.url}{FAULT}", json=body, headers=headers)
    assert "fault:write" in problem(answer, 403, "scope_missing")
    assert process_api.status()["windows"][0]["faults"] == []


class WithoutFaults(Cell):
    """A cell as `vx11 serve` starts it without being told of faults."""

    def _flags(self) -> Any:
        return [flag for flag in super()._flags() if flag != "--faults"]


def test_faults_are_off_by_default(bundle: Path, tmp_path: Path) -> None:
    cell = WithoutFaults(f"t-{secrets.token_hex(4)}", bundle, "process", tmp_path)
    try:
        cell.start()
        with cell.madre() as madre:
            madre.post("/api/v1/windows/open", service="web")
            with pytest.raises(MadreRefused, match="faults are off on this host") as refused:
                madre.fault("web", "pause", active=True)
            assert (refused.value.code, refused.value.problem["status"]) == ("faults_off", 403)
            assert madre.status()["windows"][0]["faults"] == []
    finally:
        cell.stop()
        assert cell.purge() == []
