"""For each assert of the shipped matrix a way to make it false: the run then fails on exactly that assert.

The changes stand in the table of controls; as many as can be are made in one run. Times are half of what the matrix
says, so that a run is short; windows outlive the suites as long as nothing else keeps the machine busy.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.controls import SHIPPED, Bundle, Case, Control
from vx11.conductor.matrix import BASE_ASSERTS

pytestmark = [pytest.mark.root, pytest.mark.alone]
BARE = Path(__file__).resolve().parents[1] / "unit" / "conductor" / "bare_matrix.yml"
SCALE, LIMIT_S = "0.5", 300
UNVERIFIED = "evidence that does not verify: cells/"
EVIDENCE_IS_CHANGED = (1, 3)
SOLO_MADRE = "system_returns_to_solo_madre"

LEAVES_A_PROCESS = """
import subprocess


def test_it_leaves_a_process():
    subprocess.Popen(["sleep", "600"], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
"""
ENDS_MADRE = """
import psutil


def test_madre_is_ended(madre):
    connections = psutil.net_connections("tcp")
    (pid,) = {at.pid for at in connections if at.status == "LISTEN" and at.laddr.port == madre.base_url.port}
    psutil.Process(pid).kill()
"""
# What madre wrote about this window; another process may append at any moment, so the file stays the same.
CHANGES_EVIDENCE = """
def test_evidence_is_changed(window):
    log = window("logging-service").info
    case = Path(os.environ["VX11_CASE_DIR"])
    written = [path for path in case.parents[2].glob("cells/*/evidence.jsonl") if log["window_id"] in path.read_text()]
    with written[0].open("r+") as file:
        lines = [json.loads(line) for line in file]
        changed = [line for line in map(change, lines) if line]
        assert changed != lines
        file.seek(0)
        file.truncate()
        file.writelines(json.dumps(line) + chr(10) for line in changed)


def change(record):
    is_opened = record["action"] == "opened"
    return {change}
"""
WITHOUT_TIME = '{name: value for name, value in record.items() if name != "mono_ns"} if is_opened else record'
WITHOUT_RECORD = "None if is_opened else record"
ALLOWS = """
import os
from pathlib import Path

from vx11.catalogue import allowlist, compose


def test_it_is_allowed_in_the_meantime():
    bundle = Path(os.environ["VX11_MATRIX_DIR"])
    allowlist.update(bundle / "allowlist.yml", compose.load(bundle / "catalogue.yml"), [BLOCKED])
"""
PATCHES = """
import os
from pathlib import Path


def test_the_service_is_patched():
    with (Path(os.environ["VX11_MATRIX_DIR"]) / "services" / "buggy_service.py").open("a") as program:
        program.write("# patched" + chr(10))
"""


def has_bug(kind: str, *services: str) -> Callable[[Bundle, Case], None]:
    """Services have a bug."""

    def change(bundle: Bundle, _case: Case) -> None:
        for service in services:
            bundle.set_bug(service, kind)

    return change


def runs_wrong(service: str, *kinds: str) -> Callable[[Bundle, Case], None]:
    """Something is wrong with how a service runs."""
    return lambda bundle, _case: bundle.spoil(service, *kinds)


def goes_on(suite: str, code: str) -> Callable[[Bundle, Case], None]:
    """A suite does more than it should."""
    return lambda bundle, _case: bundle.suite(suite, code)


def does(*actions: dict[str, Any]) -> Callable[[Bundle, Case], None]:
    """The case does something else."""

    def change(_bundle: Bundle, case: Case) -> None:
        case["actions"] = list(actions)

    return change


def wrong_alone(*kinds: str) -> Callable[[Bundle, Case], None]:
    """As `runs_wrong`, for TC-001: its service is that of other cases too, so it has one under another name."""

    def change(bundle: Bundle, case: Case) -> None:
        name = "auth-service-alone"
        bundle.copy_service("auth-service", name)
        bundle.spoil(name, *kinds)
        suite = (bundle.folder / "suites" / "auth_endpoints.py").read_text(encoding="utf-8")
        bundle.suite("auth_endpoints_alone", suite.replace('"auth-service"', f'"{name}"'))
        case["services"] = [name]
        case["actions"][0]["open_window"] = name
        case["actions"][1]["e2e_test"] = "auth_endpoints_alone"

    return change


def returns_badly(bundle: Bundle, case: Case) -> None:
    """The madre of the cell dies while it closes the window."""
    bundle.copy_service("cache", "bystander")
    bundle.spoil("bystander", "ends-madre")
    case["actions"] = [{"open_window": "bystander"}]


def does_alone(suite: str, code: str) -> Callable[[Bundle, Case], None]:
    """A case that runs nothing but this suite."""

    def change(bundle: Bundle, case: Case) -> None:
        bundle.suite(suite, code)
        case["actions"] = [{"e2e_test": suite}]

    return change


def held(bundle: Bundle, case: Case) -> None:
    """Somebody holds the window."""
    case["actions"][0]["params"]["hold"] = True


def a_window_more(bundle: Bundle, case: Case) -> None:
    """Somebody opens a fourth window."""
    case["actions"].append({"open_window": "allowed-service"})


def taken_port(bundle: Bundle, case: Case) -> None:
    """A fourth service finds its port taken."""
    bundle.copy_service("cache", "unlucky-service")
    bundle.spoil("unlucky-service", "squats")
    case["actions"].append({"open_window": "unlucky-service"})


def slow(bundle: Bundle, case: Case) -> None:
    """The gateway is slow, so that the suite is too; the windows outlive it."""
    bundle.set_bug("api-gateway", "slow_hops")
    for number in (0, 2):
        case["actions"][number]["params"]["ttl"] = "4m"


def burning(bundle: Bundle, case: Case) -> None:
    """The service lifts its limit of processor time, and uses all that it gets.

    On a machine where others want the processors too that may be little, so that limit and bound are lower here.
    """
    bundle.spoil("data-processor", "exceeds-cpu", "burns")
    case["actions"][0]["set_throttle"]["cpu"] = 0.2
    case["asserts"][0]["cpu_not_exceeded"] = "22%"
    case["exclusive"] = True


def cut_off(bundle: Bundle, case: Case) -> None:
    """The service cannot be reached any more before its time is over."""
    case["actions"][0]["params"]["ttl"] = "40s"
    case["actions"][2:2] = [{"force_failure": "network_partition"}]
    case["actions"][3]["wait"] = "44s"


def killed_while_held(bundle: Bundle, case: Case) -> None:
    """The service dies before its window is released."""
    case["actions"][3:3] = [{"force_failure": "kill"}]


def without_disk(bundle: Bundle, case: Case) -> None:
    """The disk is full before the migration is done; the case goes on, so that nothing else is missing."""
    bundle.spoil("db-migration", "lacks-disk")
    case["actions"][2:2] = [{"expect_failure": True}]


def ready_late(bundle: Bundle, case: Case) -> None:
    """service-b does not wait until service-a, which takes its time, is ready."""
    bundle.spoil("service-a", "starts-late")
    bundle.services["service-b"]["depends_on"]["service-a"]["condition"] = "service_started"
    case["actions"][1:1] = [{"wait": "6s"}]


def unchecked(bundle: Bundle, case: Case) -> None:
    """Nobody looks whether service-a is healthy."""
    del bundle.services["service-a"]["x-vx11"]["ready"]
    bundle.services["service-b"]["depends_on"]["service-a"]["condition"] = "service_started"


def circle(bundle: Bundle, case: Case) -> None:
    """Two services that the case does not open need each other."""
    case["services"] += ["service-x", "service-y"]
    case["dependencies"] |= {"service-x": ["service-y"], "service-y": ["service-x"]}


def attempts_both(bundle: Bundle, case: Case) -> None:
    """What is attempted, and has to be refused, is something that is allowed."""
    opens = case["actions"][1]
    case["actions"][1] = {"attempt_open": opens["open_window"], "params": opens["params"]}


def known_after_all(bundle: Bundle, case: Case) -> None:
    """There is a service that the suite takes for one that there is not, and it is allowed."""
    bundle.copy_service("allowed-service", "no-such-service")


def opened_after_all(bundle: Bundle, case: Case) -> None:
    """After it was refused, the service is allowed and opened."""
    bundle.suite("security_boundaries", ALLOWS)
    case["actions"].append({"open_window": "blocked-service"})


def patched(bundle: Bundle, case: Case) -> None:
    """Somebody patches the service while the case runs; no other case runs then."""
    bundle.suite("failure_scenario", PATCHES)
    case["exclusive"] = True


def nothing_fails(bundle: Bundle, case: Case) -> None:
    """The service has no bug, and nobody expects one."""
    bundle.set_bug("buggy-service", "")
    case["actions"] = case["actions"][:2]


CONTROLS = (
    # What no service is needed for, or one of its own.
    Control(SOLO_MADRE, 1, "", returns_badly),
    # A madre that is dead cannot say either that only the core runs.
    Control("tentaculo_link_available", 2, "", does_alone("ends_madre", ENDS_MADRE), also=frozenset({SOLO_MADRE})),
    Control("no_resource_leaks", 3, "", does_alone("leaves_a_process", LEAVES_A_PROCESS)),
    Control("window_auto_closed", 1, "TC-001", held),
    Control("max_cpu_percent", 2, "TC-001", wrong_alone("burns")),
    Control("memory_delta_mb", 3, "TC-001", wrong_alone("hoards")),
    Control("concurrent_windows", 1, "TC-002", a_window_more),
    Control("no_port_conflicts", 1, "TC-002", taken_port, fails="Open unlucky-service"),
    Control("inter_service_latency_ms", 2, "TC-002", slow),
    Control("service_running_after_ttl", 1, "TC-003", cut_off),
    Control("auto_close_after_release", 2, "TC-003", killed_while_held),
    Control("migration_complete", 3, "TC-003", without_disk),
    Control("cpu_not_exceeded", 1, "TC-004", burning),
    Control("memory_not_exceeded", 2, "TC-004", runs_wrong("data-processor", "exceeds-memory", "hoards")),
    Control("iops_within_limit", 3, "TC-004", runs_wrong("data-processor", "exceeds-iops")),
    # A suite that is interrupted may fail, and only what it observes counts.
    Control("graceful_shutdown", 1, "TC-005", has_bug("hangs_at_stop", "upload-service")),
    Control(
        "no_data_corruption",
        2,
        "TC-005",
        has_bug("writes_in_place", "upload-service"),
    ),
    Control(
        "temp_files_cleaned",
        3,
        "TC-005",
        has_bug("leaks_temp", "upload-service"),
    ),
    Control("startup_order_correct", 1, "TC-006", ready_late),
    Control("dependency_health_checks_pass", 2, "TC-006", unchecked),
    Control("circular_dependency_detected", 3, "TC-006", circle),
    Control(
        "evidence_timestamped",
        1,
        "TC-007",
        goes_on("log_ingestion", CHANGES_EVIDENCE.replace("{change}", WITHOUT_TIME)),
    ),
    Control(
        "logs_persisted_before_crash",
        2,
        "TC-007",
        has_bug("buffers", "logging-service"),
        fails="acknowledged records are gone",
    ),
    Control(
        "audit_trail_complete",
        3,
        "TC-007",
        goes_on("log_ingestion", CHANGES_EVIDENCE.replace("{change}", WITHOUT_RECORD)),
    ),
    Control(
        "token_validity_enforced",
        1,
        "TC-008",
        has_bug("needs_no_token", "resource-service"),
        fails="test_a_token_opens_what_is_protected",
    ),
    Control(
        "expired_token_rejected",
        2,
        "TC-008",
        has_bug("remembers_tokens", "resource-service"),
        fails="test_a_token_ends",
    ),
    Control(
        "refresh_works",
        3,
        "TC-008",
        has_bug("reuses_refresh", "auth-service"),
        fails="test_a_refresh_token_works_once",
    ),
    Control("blocked_service_rejected", 1, "TC-009", attempts_both),
    Control("allowlist_enforced", 2, "TC-009", known_after_all, fails="test_everything_forbidden_is_refused"),
    Control("no_side_effects_from_blocked", 3, "TC-009", opened_after_all),
    Control(
        "v1_endpoints_work",
        1,
        "TC-010",
        has_bug("keeps_deleted", "legacy-api-v1"),
        fails="test_the_first_generation_works",
    ),
    Control(
        "v2_new_features_available",
        2,
        "TC-010",
        has_bug("one_page", "modern-api-v2"),
        fails="test_the_second_generation_has_more",
    ),
    Control(
        "shared_data_consistent",
        3,
        "TC-010",
        has_bug("stale_reads", "modern-api-v2"),
        fails="test_both_see_the_same_data",
    ),
    Control("patch_intent_generated", 1, "TC-011", nothing_fails),
    Control(
        "system_recovered_to_solo_madre",
        2,
        "TC-011",
        runs_wrong("buggy-service", "ends-madre"),
        also=frozenset({SOLO_MADRE}),
    ),
    Control("no_auto_patch_applied", 3, "TC-011", patched),
    Control(
        "no_resource_contention",
        1,
        "TC-012",
        has_bug("shared_lock", "service-x", "service-y"),
        fails="test_neither_waits_for_the_other",
    ),
    Control(
        "isolation_maintained",
        2,
        "TC-012",
        has_bug("shared_files", "service-x", "service-y"),
        fails="test_neither_sees_what_is_the_others",
    ),
    Control(
        "results_deterministic",
        3,
        "TC-012",
        has_bug("random", "service-x", "service-y"),
        fails="test_the_same_work_gives_the_same_results",
    ),
)
# A few cases that wait little, for what is about all of them.
QUICK = ("TC-006", "TC-009", "TC-010", "TC-011")


@pytest.fixture(scope="module")
def shipped_asserts() -> list[str]:
    """The names of the asserts of the shipped matrix, the base asserts first."""
    matrix = yaml.safe_load((SHIPPED / "matrix.yml").read_text(encoding="utf-8"))["test_matrix"]
    own = [name for case in matrix["cases"] for item in case["asserts"] for name in item]
    return [*matrix["base_asserts"], *own]


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory, run_matrix: Callable[..., Any]) -> Callable[[int], Any]:
    """`rounds(number)` is the run of a round, of which nothing is left; it is made once, also when it goes wrong."""
    made: dict[int, Any] = {}

    def made_once(number: int) -> Any:
        if number not in made:
            made[number] = None
            bundle = Bundle(tmp_path_factory.mktemp("controls") / "bundle")
            for control in CONTROLS:
                if control.round == number:
                    control.change(bundle, bundle.case(control.case, control.name))
            ran = run_matrix(bundle.write(), "--json", "--time-scale", SCALE, limit=LIMIT_S)
            assert ran.code == 1
            assert all(what.startswith(UNVERIFIED) for what in ran.result["left"])
            assert bool(ran.result["left"]) == (number in EVIDENCE_IS_CHANGED)
            made[number] = ran
        assert made[number], "the run of this round went wrong before"
        return made[number]

    return made_once


def test_every_assert_has_one_control(shipped_asserts: list[str]) -> None:
    assert len(shipped_asserts) == len(BASE_ASSERTS) + 36
    assert sorted(control.name for control in CONTROLS) == sorted(shipped_asserts)


@pytest.mark.parametrize("control", CONTROLS, ids=[control.name for control in CONTROLS])
def test_what_is_wrong_fails_exactly_its_assert(rounds: Callable[[int], Any], control: Control) -> None:
    case = rounds(control.round).case(control.name)
    wrong = {item["name"]: item["why"] for item in case["asserts"] if not item["holds"]}
    assert set(wrong) == {control.name} | control.also, case
    assert case["verdict"] == ("leaked" if control.name == "no_resource_leaks" else "failed")
    assert all(f"{name}: {why}" in case["message"] for name, why in wrong.items())
    assert control.fails in case["message"]
    assert case["message"].startswith("task ") == bool(control.fails), case


def test_the_bare_form_of_what_is_not_changed_passes(tmp_path: Path, run_matrix: Callable[..., Any]) -> None:
    folder = Bundle(tmp_path / "bundle").folder
    (folder / "matrix.yml").write_bytes(BARE.read_bytes())
    chosen = [word for case in QUICK for word in ("--case", case)]
    ran = run_matrix(folder, "--json", "--time-scale", SCALE, *chosen, limit=LIMIT_S)
    assert ran.code == 0, ran.output
    assert {case["case"]: case["verdict"] for case in ran.result["cases"]} == dict.fromkeys(QUICK, "passed")
