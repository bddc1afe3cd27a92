"""A sign: a single thing that evidence shows of a failure, with the place where a reader finds it.

It is about a service, a suite, an assert, a case or the core. What it says for and against a cause stands in `rules`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vx11.recovery.failure import Call, Failure

MADRE, TOKEN = "madre", "the token"
# What each sign is, as the docs tell it.
MEANINGS = {
    "exit_code": "a window closed as crashed, with an exit code from 1 to 127",
    "exit_0": "the same with exit code 0: it stopped by itself",
    "signal": "it ended by a signal other than SIGKILL",
    "sigkill": "it ended by SIGKILL",
    "vanished": "what ran in the window was gone",
    "early_exit": "it ended before it was ready",
    "not_ready": "it was not ready in time",
    "check_refused": "its readiness check was answered with 4xx",
    "check_failed": "its readiness check was answered with 5xx",
    "check_unheard": "nobody listened where its readiness check asks",
    "busy_start": "until then it used a tenth of a processor or more, beyond 0.3 s to come up",
    "idle_start": "until then it used less than a twentieth",
    "started_slowly_before": "in earlier runs it took more than half of its ready_timeout",
    "started_quickly_before": "in earlier runs it never took so long",
    "was_needed": "another service did not open for want of it",
    "lived": "it ran until the end of the case",
    "expired_in_use": "its time was over before what failed was over, or before it was ready",
    "memory_full": "it used nine tenths of its limit of memory or more",
    "memory_spare": "it used less than six tenths of it",
    "memory_unlimited": "it has no limit of memory",
    "cpu_full": "it used nine tenths of its limit of processor time or more",
    "iops_full": "between two looks it did nine tenths of its limit of I/O operations or more",
    "pids_limited": "it has a limit of processes",
    "pids_unlimited": "it has none",
    "cut_off": "the fault network_partition was proven to bite",
    "frozen": "the fault pause was proven to bite",
    "killed_on_purpose": "the fault kill was proven to bite",
    "fault_was_gone": "the fault was taken back before what failed was over",
    "traceback": "its log has a stack trace",
    "says_port_taken": "its log says that an address is in use",
    "says_disk_full": "its log says that a disk, a quota or a file is full",
    "says_no_memory": "its log says that memory is lacking",
    "says_no_process": "its log says that no thread or process can be had",
    "says_no_peer": "its log says that another service is not reached",
    "says_deadly": "its log has the end by a deadly signal",
    "says_stuck": "its log has what a runtime writes when something hangs",
    "says_not_set_up": "its log says that a file, an argument or a module is missing",
    "says_refused": "its log has an answer 401 or 403",
    "not_allowed": "madre refused: not on the allowlist, or not with this entry",
    "asks_too_much": "madre refused: more time, other limits, or what there is not",
    "no_permit": "madre refused: token or scope",
    "not_enforced": "madre refused: the engine cannot enforce a limit",
    "core_cannot": "madre refused: evidence, engine, or an earlier window",
    "madre_silent": "a call got no answer from madre",
    "entry_silent": "the entry did not answer after the playbook",
    "not_solo": "the host did not come back to SOLO_MADRE",
    "left_behind": "something was left after the clean-up",
    "no_window_left": "a test found no open window",
    "suite_mistake": "a test raised something that is no assertion and none of its client's",
    "suite_broken": "pytest could not run the suite to its end",
    "says_unauthorised": "a test failed on 401 or 403",
    "says_4xx": "a test failed on another 4xx",
    "says_5xx": "a test failed on 5xx",
    "cuts_off": "a test failed because a connection was closed",
    "refuses_connections": "a test failed because a connection was refused",
    "does_not_answer": "a test failed because there was no answer in time",
    "asked_by_silent": "a service that gave no answer in time knows its address",
    "answers_wrong": "a test failed on an assertion without a status",
    "not_observed": "an assert was not observed",
    "failed_before": "something else had failed by then",
    "untrue": "an assert that is no figure does not hold",
    "missed_slightly": "a figure misses its bound by a tenth or less",
    "missed_widely": "a figure misses it by more",
    "near_miss": "the same as missed_slightly, told of the services of the case",
    "slow_figure": "a time misses its bound",
    "bad_figure": "another figure misses its bound",
    "beyond_past": "it is more than ever in earlier tries that passed, and half as much again as their median",
    "within_past": "it is not",
    "out_of_time": "the playbook was not done in time",
    "suite_waited": "a suite had not come to its end then, told of the services of the case",
    "suite_under_way": "the same, told of the case",
    "task_failed": "a task failed",
    "unplayable": "ansible-playbook ended before a task failed",
    "own_call_failed": "what failed was a call of a module of ours, which tells more",
    "other_harmed": "another service of the case came to harm before",
    "service_harmed": "a service of the case came to harm",
    "lacks_peer": "a service whose address it gets had no window that got ready",
}


@dataclass(frozen=True)
class Sign:
    """One of them.

    Attributes:
        about: a service, a suite, an assert, a case, `madre` …, by name.
        where: the record, or file and line, that shows it.
        share: 1, or less when it may as well be about others.
        key: what tells this failure from another one with the same sign; the same for the same bug.
        ns: when, wall time since the epoch; None when that is not known or means nothing.
    """

    name: str
    about: str
    text: str
    where: str
    share: float = 1.0
    key: str = ""
    ns: int | None = None


def shared(name: str, about: Sequence[str], said: str, where: str, key: str) -> Iterator[Sign]:
    """One that may be about any of several."""
    for service in about:
        yield Sign(name, service, said, where, 1 / len(about), key)


def services(failure: Failure) -> list[str]:
    """Those that had a window, each once."""
    return list(dict.fromkeys(str(window["service"]) for window in failure.windows))


def failure_times(failure: Failure) -> list[int]:
    """When tests and calls failed, wall time since the epoch, the first first."""
    tests = [test.ended_ns for test in failure.tests if test.ended_ns is not None]
    return sorted([*tests, *(call.ended_ns for call in failure.calls if call.failed)])


def named(call: Call) -> str:
    """What a call is about, by name."""
    many = call.args.get("services")
    if isinstance(many, list):
        return ", ".join(map(str, many))
    return str(call.args.get("service") or call.args.get("window_id") or call.args.get("name") or call.module)
