# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same for several services, at the same time, with one result: what option C(services) means everywhere."""

from __future__ import annotations

import typing as t
from concurrent.futures import Future, ThreadPoolExecutor

from ansible_collections.vx11.power.plugins.module_utils.client import Json, MadreError


def for_each(services: t.Sequence[str], one: t.Callable[[str], Json]) -> Json:
    """Do `one` for all services at the same time; the result of the task, with `windows` in the order of `services`.

    `one` answers the result for its service. Raises MadreError when all have ended, with what became of the others, if
    one of them raised it.
    """
    if not services or len(set(services)) < len(services):
        raise MadreError("The option services names no service, or one of them twice.")
    with ThreadPoolExecutor(len(services)) as pool:
        outcomes = [_outcome(each) for each in [pool.submit(one, service) for service in services]]
    failures = [outcome for outcome in outcomes if isinstance(outcome, MadreError)]
    results = [outcome.facts if isinstance(outcome, MadreError) else outcome for outcome in outcomes]
    whole = _in_one(services, results)
    if failures:
        first = next((failure for failure in failures if failure.code), failures[0])
        raise MadreError(" ".join(map(str, failures)), first.problem, **whole)
    refused = next((result for result in results if "problem" in result), None)
    return dict(whole, problem=refused["problem"], msg=refused["msg"]) if refused else whole


def _outcome(future: Future[Json]) -> Json | MadreError:
    try:
        return future.result()
    except MadreError as error:
        return error


def _in_one(services: t.Sequence[str], results: t.Sequence[Json]) -> Json:
    whole: Json = {
        "changed": any(result.get("changed") for result in results),
        "windows": [result.get("window") for result in results],
        "request_ms": max(result.get("request_ms", 0.0) for result in results),
    }
    if all("diff" in result for result in results):
        named = list(zip(services, results))
        whole["diff"] = {side: {name: each["diff"][side] for name, each in named} for side in ("before", "after")}
    return whole
