"""All signs of a failure: of services, calls, tests and the judgement, and what they mean for each other. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from vx11.recovery import findings, service_signs, suite_signs
from vx11.recovery.failure import Failure
from vx11.recovery.sign import MADRE, Sign, named, services, shared

# A figure is beyond its past when it is this many times its median, and more than ever before.
BEYOND, ENOUGH = 1.5, 3
_DEATHS = frozenset(
    {"exit_code", "exit_0", "signal", "sigkill", "vanished", "early_exit", "not_ready", "no_window_left"}
)
_HARM = _DEATHS | {"cut_off", "frozen", "killed_on_purpose", "expired_in_use"}
_TIMES = frozenset({"ms", "s", "us", "min"})


def of(failure: Failure) -> list[Sign]:
    """All signs of a failure."""
    found = [sign for look in _LOOKS for sign in look(failure)]
    return [*found, *_context(failure, found)]


def _asserts(failure: Failure) -> Iterator[Sign]:
    every = services(failure)
    before = bool(failure.play_failure or failure.tests or findings.refusals(failure))
    for item in failure.wrong:
        where = f"judgement: {item.name}"
        if item.name in findings.BASE_ASSERTS:
            continue
        if item.observed is None:
            yield Sign("not_observed", item.name, "it was not observed", where, key="not observed")
            if before:
                yield Sign("failed_before", item.name, "something else had failed by then", where)
            continue
        share = findings.miss(item)
        said = f"{item.name} was {item.observed}, and expected {item.expected}"
        if share is None:
            yield from shared("untrue", every, said, where, item.name)
            continue
        if share <= findings.SLIGHT:
            yield Sign("missed_slightly", item.name, f"{said}: off by {share:.1%} of the bound", where)
            yield from shared("near_miss", every, f"{said}: off by {share:.1%} of the bound", where, "")
        else:
            yield Sign("missed_widely", item.name, f"{said}: off by {share:.1%} of the bound", where)
        name = "slow_figure" if item.observed.rpartition(" ")[2] in _TIMES else "bad_figure"
        yield from shared(name, every, said, where, item.name)
        yield from _against_past(failure, item.name, item.observed, every)


def _against_past(failure: Failure, name: str, observed: str, about: Sequence[str]) -> Iterator[Sign]:
    past = sorted(failure.past.figures.get(name, ()))
    value = findings.number(observed)
    if len(past) < ENOUGH or value is None:
        return
    middle = past[len(past) // 2]
    said = f"{name} was {observed}; in {len(past)} earlier tries that passed it was {past[0]:g} to {past[-1]:g}"
    kind = "beyond_past" if value > past[-1] and value > BEYOND * middle else "within_past"
    yield Sign(kind, name, said, "earlier runs")
    yield from shared(kind, about, said, "earlier runs", name)


def _play(failure: Failure) -> Iterator[Sign]:
    why = failure.play_failure
    where = "runner/stdout"
    if findings.is_timeout(failure):
        yield Sign("out_of_time", failure.case, why[:300], where, key="out of time")
        if "the suite " in why:
            yield Sign("suite_under_way", failure.case, "a suite had not come to its end", "suites/")
            yield from shared(
                "suite_waited", services(failure), f"a suite waited until the time was over: {why[:300]}", where, ""
            )
    elif why.startswith("task "):
        yield Sign("task_failed", failure.case, why[:300], where, key=why.partition(":")[0])
    elif why and not why.startswith("a suite failed"):
        yield Sign("unplayable", failure.case, why[:300], where, key="not played")
    if any(call.failed for call in failure.calls):
        failed = next(call for call in failure.calls if call.failed)
        yield Sign("own_call_failed", failure.case, f"what failed was {failed.module} of {named(failed)}", failed.where)


def _core(failure: Failure) -> Iterator[Sign]:
    after = failure.clean_up
    where = "the run's evidence.jsonl, cleaned_up"
    if after and not after.entry_answers:
        yield Sign("entry_silent", MADRE, "the entry did not answer after the playbook", where)
    if after and not after.solo_madre:
        yield Sign("not_solo", MADRE, "the host did not come back to SOLO_MADRE by itself", where)
    if after and after.leaked:
        yield Sign(
            "left_behind", failure.case, f"left after the clean-up: {', '.join(after.leaked)}", where, key="left"
        )


def _context(failure: Failure, found: Sequence[Sign]) -> Iterator[Sign]:
    """Of each service that something else of the case came to harm first; of suites and playbooks that any did."""
    harmed = [sign for sign in found if sign.name in _HARM]
    for service in {*services(failure), *(sign.about for sign in harmed)}:
        own = [sign.ns for sign in harmed if sign.about == service and sign.ns is not None]
        others = [s for s in harmed if s.about != service and (not own or (s.ns is not None and s.ns < min(own)))]
        if others:
            first = min(others, key=lambda sign: sign.ns or 0)
            yield Sign("other_harmed", service, f"{first.about} came to harm before: {first.text}", first.where)
    if harmed:
        first = harmed[0]
        for about in {failure.case, *(test.suite for test in failure.tests)}:
            yield Sign("service_harmed", about, f"{first.about} came to harm: {first.text}", first.where)
    yield from _lonely(failure)
    yield from _behind(failure, found)


def _behind(failure: Failure, found: Sequence[Sign]) -> Iterator[Sign]:
    """Services that another one, which gave no answer, may have been waiting for."""
    for sign in found:
        if sign.name == "does_not_answer" and sign.share == 1:
            for other in set(failure.service(sign.about).neighbours) & set(services(failure)):
                yield Sign(
                    "asked_by_silent", other, f"{sign.about}, which knows its address, did not answer", sign.where
                )


def _lonely(failure: Failure) -> Iterator[Sign]:
    """Services whose neighbours had no window, or none any more."""
    live = {str(window["service"]) for window in failure.windows if window.get("ready_at")}
    for service in services(failure):
        for other in failure.service(service).neighbours:
            if other not in live:
                said = f"it knows the address of {other}, which had no window that got ready"
                yield Sign("lacks_peer", service, said, "the case's windows, by madre's status", key=other)


_LOOKS: tuple[Callable[[Failure], Iterable[Sign]], ...] = (
    *service_signs.LOOKS,
    *suite_signs.LOOKS,
    _asserts,
    _play,
    _core,
)
