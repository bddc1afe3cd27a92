"""The pytest plugin of suites: windows of the case, and what is observed, measured, timed and kept.

Suites run with `-p vx11.conductor.suite_plugin`, from the module vx11_suite. It says by the environment what case they
belong to: `VX11_CASE_DIR` for observations, `VX11_SUITE_DIR` for what the suite leaves (see `files`). Without these, as
when somebody runs a suite by hand, nothing is recorded.

Imports the client of madre and leaves alone: each suite loads it anew.
"""

from vx11.conductor.suite_plugin.fixtures import (
    _api,
    _requests,
    evidence,
    madre,
    metric,
    mid_operation,
    observe,
    profile,
    step,
    time_scale,
    window,
)
from vx11.conductor.suite_plugin.hooks import (
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_runtest_call,
    pytest_runtest_logfinish,
    pytest_runtest_logstart,
)
from vx11.conductor.suite_plugin.profile import Profile
from vx11.conductor.suite_plugin.windows import WindowHandle

__all__ = [
    "Profile",
    "WindowHandle",
    "_api",
    "_requests",
    "evidence",
    "madre",
    "metric",
    "mid_operation",
    "observe",
    "profile",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_runtest_call",
    "pytest_runtest_logfinish",
    "pytest_runtest_logstart",
    "step",
    "time_scale",
    "window",
]
