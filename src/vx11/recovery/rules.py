"""What each sign says for and against each cause, in bits: a bit more doubles the odds. The table of the docs. Pure.

A weight is how much more often the sign is seen with the cause than without it, as a power of two; the weights were set
by what the causes mean and are held against the seeded faults (docs/intents.md). What a rule does not name says nothing
either way.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What sort of thing is suspected; it decides where a patch would be made."""

    SERVICE = "service"
    LIMITS = "limits"
    CATALOGUE = "catalogue"
    ALLOWLIST = "allowlist"
    REQUEST = "request"
    MATRIX = "matrix"
    SUITE = "suite"
    PLAYBOOK = "playbook"
    CORE = "core"
    ENVIRONMENT = "environment"


@dataclass(frozen=True)
class Rule:
    """A cause.

    Attributes:
        opens: signs that make it worth a thought; without one of them about the same thing it is not considered.
        weights: sign → bits, below zero against it. Those of `opens` count too.
        prior: bits before any sign.
    """

    name: str
    kind: Kind
    claim: str
    opens: Mapping[str, float]
    others: Mapping[str, float]
    prior: float = -4.0

    def weight(self, sign: str) -> float:
        """Bits; 0 for a sign that says nothing here."""
        return self.opens.get(sign, self.others.get(sign, 0.0))


# That a service ended, or was cut off, speaks against every cause that has it running.
_ENDED = {"exit_code": -5.0, "exit_0": -5.0, "signal": -6.0, "sigkill": -6.0, "vanished": -6.0, "early_exit": -6.0}
_TOUCHED = {"cut_off": -7.0, "frozen": -7.0, "killed_on_purpose": -7.0}
_EXPIRED = {"expired_in_use": -6.0}
# The system's own word for what was missing says more than how the program ended over it.
_WANT = {
    "says_port_taken": -6.0,
    "says_disk_full": -6.0,
    "says_no_memory": -4.0,
    "says_no_process": -5.0,
    "says_no_peer": -3.0,
}
_ELSEWHERE = {"other_harmed": -4.0}
RULES: tuple[Rule, ...] = (
    Rule(
        "crashed",
        Kind.SERVICE,
        "it ended by itself while its window was open",
        {"exit_code": 8.0, "exit_0": 8.0, "vanished": 8.0},
        {"traceback": 1.0, "refuses_connections": 1.0, "cuts_off": 1.0, **_WANT, **_TOUCHED, **_EXPIRED, **_ELSEWHERE},
    ),
    Rule(
        "deadly_signal",
        Kind.SERVICE,
        "a deadly signal of its own making ended it",
        {"signal": 9.0},
        {"says_deadly": 2.0, "cuts_off": 1.0, "refuses_connections": 1.0, **_TOUCHED},
    ),
    Rule(
        "killed",
        Kind.ENVIRONMENT,
        "somebody outside of it killed it",
        {"sigkill": 7.0},
        {"memory_unlimited": 2.0, "memory_spare": 2.0, "memory_full": -4.0, "says_no_memory": -4.0, **_TOUCHED},
    ),
    Rule(
        "memory_limit",
        Kind.LIMITS,
        "it needs more memory than its limit",
        {"sigkill": 4.0, "says_no_memory": 6.0},
        {"memory_full": 5.0, "memory_spare": -4.0, "memory_unlimited": -5.0, "exit_code": -1.0, **_TOUCHED},
    ),
    Rule(
        "cpu_limit",
        Kind.LIMITS,
        "its limit of processor time makes it slow",
        {"cpu_full": 4.0},
        {
            "slow_figure": 4.0,
            "does_not_answer": 4.0,
            "not_ready": 4.0,
            "suite_waited": 4.0,
            "check_unheard": 0.5,
            "check_refused": -4.0,
            "answers_wrong": -4.0,
            "says_4xx": -4.0,
            "says_unauthorised": -4.0,
            "says_stuck": -2.0,
            **_ENDED,
            **_TOUCHED,
            **_EXPIRED,
        },
        prior=-5.0,
    ),
    Rule(
        "process_limit",
        Kind.LIMITS,
        "it needs more processes or threads than its limit",
        {"says_no_process": 7.0},
        {"pids_limited": 3.0, "pids_unlimited": -4.0},
    ),
    Rule(
        "io_limit",
        Kind.LIMITS,
        "its limit of I/O operations makes it slow",
        {"iops_full": 4.0},
        {
            "slow_figure": 4.0,
            "does_not_answer": 4.0,
            "not_ready": 3.0,
            "suite_waited": 4.0,
            "answers_wrong": -4.0,
            "says_4xx": -4.0,
            **_ENDED,
            **_TOUCHED,
        },
        prior=-5.0,
    ),
    Rule(
        "did_not_start",
        Kind.SERVICE,
        "it ended before it was ready",
        {"early_exit": 8.0},
        {"traceback": 1.0, "says_not_set_up": 1.0, "was_needed": 1.0, **_WANT, "lacks_peer": -1.0},
    ),
    Rule(
        "never_ready",
        Kind.SERVICE,
        "it hangs before it is ready",
        {"not_ready": 6.0},
        {
            "idle_start": 2.0,
            "busy_start": -3.0,
            "check_failed": 1.0,
            "check_refused": -5.0,
            "started_quickly_before": 1.0,
            "started_slowly_before": -2.0,
            "cpu_full": -3.0,
            **_WANT,
        },
    ),
    Rule(
        "ready_timeout",
        Kind.LIMITS,
        "it needs longer to get ready than it is given",
        {"not_ready": 5.0},
        {
            "busy_start": 3.0,
            "idle_start": -2.0,
            "check_refused": -5.0,
            "started_slowly_before": 3.0,
            "started_quickly_before": -2.0,
            "cpu_full": -1.0,
            **_WANT,
        },
    ),
    Rule(
        "ready_check",
        Kind.CATALOGUE,
        "its readiness check asks for what it does not have",
        {"check_refused": 5.0},
        {"not_ready": 5.0, "started_quickly_before": -1.0},
    ),
    Rule(
        "port_taken",
        Kind.SERVICE,
        "the port that it listens at is taken",
        {"says_port_taken": 9.0},
        {"early_exit": 1.0, "exit_code": 1.0, "lived": -1.0},
    ),
    Rule(
        "lacks_dependency",
        Kind.CATALOGUE,
        "it needs another service, which was not open",
        {"says_no_peer": 5.0},
        {"lacks_peer": 5.0, "early_exit": 0.5, "says_5xx": 0.5, "other_harmed": -6.0, **_TOUCHED},
    ),
    Rule(
        "disk_full",
        Kind.ENVIRONMENT,
        "the disk or the volume that it writes to is full",
        {"says_disk_full": 9.0},
        {"says_5xx": 0.5, "exit_code": 0.5},
    ),
    Rule(
        "unreachable",
        Kind.SERVICE,
        "it runs, and cannot be reached",
        {"refuses_connections": 6.0, "cuts_off": 4.0},
        {
            "lived": 2.0,
            "does_not_answer": 1.0,
            **_WANT,
            **_ENDED,
            **_TOUCHED,
            **_EXPIRED,
            **_ELSEWHERE,
            "says_stuck": -3.0,
        },
    ),
    Rule(
        "hangs",
        Kind.SERVICE,
        "it takes a request and does not answer it",
        {"does_not_answer": 6.0, "suite_waited": 6.0, "asked_by_silent": 3.0},
        {
            "lived": 2.0,
            "says_stuck": 3.0,
            "cpu_full": -4.0,
            "iops_full": -4.0,
            "traceback": -1.0,
            **_ENDED,
            **_TOUCHED,
            **_EXPIRED,
            **_ELSEWHERE,
        },
    ),
    Rule(
        "slower",
        Kind.SERVICE,
        "it is slower than it should be",
        {"slow_figure": 5.0},
        {
            "beyond_past": 4.0,
            "within_past": -4.0,
            "near_miss": -3.0,
            "cpu_full": -4.0,
            "iops_full": -4.0,
            "lived": 1.0,
            **_ENDED,
            **_TOUCHED,
            **_EXPIRED,
            **_ELSEWHERE,
        },
    ),
    Rule(
        "uses_too_much",
        Kind.SERVICE,
        "it uses or does more than the case allows it",
        {"bad_figure": 7.0},
        {
            "beyond_past": 2.0,
            "within_past": -4.0,
            "near_miss": -3.0,
            **_ENDED,
            **_TOUCHED,
            **_EXPIRED,
            **_ELSEWHERE,
        },
    ),
    Rule(
        "bug",
        Kind.SERVICE,
        "its program has a bug, and its log says where",
        {"traceback": 6.0},
        {
            "says_5xx": 3.0,
            "answers_wrong": 2.0,
            "cuts_off": 2.0,
            "lived": 1.0,
            "exit_code": -5.0,
            "early_exit": -7.0,
            "signal": -5.0,
            "sigkill": -4.0,
            "not_ready": -2.0,
            "says_port_taken": -7.0,
            "says_disk_full": -8.0,
            "says_no_memory": -6.0,
            "says_no_process": -8.0,
            "says_no_peer": -6.0,
            "cut_off": -6.0,
            "frozen": -6.0,
            "says_unauthorised": -3.0,
            **_ELSEWHERE,
        },
    ),
    Rule(
        "refuses_token",
        Kind.SERVICE,
        "it refuses a token or a caller that it should let in",
        {"says_unauthorised": 8.0},
        {"says_refused": 1.0, "traceback": -2.0, **_TOUCHED, **_EXPIRED, **_ELSEWHERE},
    ),
    Rule(
        "wrong_answer",
        Kind.SERVICE,
        "it answers other than it should",
        {"answers_wrong": 7.0, "says_4xx": 7.0, "says_5xx": 6.0, "untrue": 6.0},
        {
            "lived": 1.0,
            "traceback": -4.0,
            "does_not_answer": -2.0,
            **_WANT,
            **_ENDED,
            **_TOUCHED,
            **_EXPIRED,
            **_ELSEWHERE,
        },
    ),
    Rule(
        "ttl",
        Kind.REQUEST,
        "its window was opened for less time than the case needs",
        {"expired_in_use": 9.0},
        {"no_window_left": 2.0, "refuses_connections": 0.5, "says_stuck": -2.0, "other_harmed": -2.0},
    ),
    Rule(
        "injected",
        Kind.MATRIX,
        "a fault was injected into it on purpose",
        {"cut_off": 10.0, "frozen": 10.0, "killed_on_purpose": 10.0},
        {"fault_was_gone": -5.0},
    ),
    Rule("not_allowed", Kind.ALLOWLIST, "the allowlist does not let it be opened", {"not_allowed": 10.0}, {}),
    Rule("request", Kind.REQUEST, "what is asked for is not what madre gives", {"asks_too_much": 9.0}, {}),
    Rule("permit", Kind.REQUEST, "it does not let the caller do what it asks for", {"no_permit": 10.0}, {}),
    Rule(
        "engine_lacks",
        Kind.ENVIRONMENT,
        "the engine does not enforce a limit that is asked for",
        {"not_enforced": 10.0},
        {},
    ),
    Rule("core_refused", Kind.CORE, "it could not do its part", {"core_cannot": 9.0}, {"entry_silent": -4.0}),
    Rule(
        "core_died",
        Kind.CORE,
        "it ended while the case went on",
        {"madre_silent": 5.0, "entry_silent": 7.0},
        {"not_solo": 0.5},
    ),
    Rule(
        "not_solo_madre",
        Kind.CORE,
        "it did not bring the host back to SOLO_MADRE",
        {"not_solo": 8.0},
        {"entry_silent": -7.0},
    ),
    Rule("leak", Kind.PLAYBOOK, "it leaves behind what it started", {"left_behind": 9.0}, {}),
    Rule(
        "bound",
        Kind.MATRIX,
        "its bound is tighter than the figure varies",
        {"missed_slightly": 7.0, "missed_widely": 2.0},
        {"within_past": 5.0, "beyond_past": -6.0},
    ),
    Rule(
        "not_recorded",
        Kind.SUITE,
        "nothing records what it is judged on",
        {"not_observed": 8.0},
        {"failed_before": -7.0},
    ),
    Rule(
        "suite_mistake",
        Kind.SUITE,
        "it fails by a mistake of its own, whatever the services do",
        {"suite_mistake": 9.0, "suite_broken": 9.0},
        {"service_harmed": -4.0},
    ),
    Rule(
        "task",
        Kind.PLAYBOOK,
        "a task of it fails whatever the services do",
        {"task_failed": 8.0, "unplayable": 9.0},
        {"own_call_failed": -9.0, "service_harmed": -3.0},
    ),
    Rule(
        "waits",
        Kind.PLAYBOOK,
        "it waits longer than the case may take",
        {"out_of_time": 8.0},
        {"suite_under_way": -5.0, "service_harmed": -3.0},
    ),
    Rule(
        "expectation",
        Kind.SUITE,
        "it expects what was never promised",
        {"answers_wrong": 1.0, "says_4xx": 1.0, "untrue": 1.0, "says_unauthorised": 1.0},
        {"traceback": -2.0, **_WANT, **_ENDED, **_TOUCHED, **_EXPIRED, **_ELSEWHERE},
    ),
)
