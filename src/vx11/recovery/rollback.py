"""How to take a patch back, as steps for a shell. Pure."""

from pathlib import Path

from vx11.recovery.failure import Failure, Revision
from vx11.recovery.model import Step
from vx11.recovery.proposal import ALLOWLIST, CATALOGUE, shell

PATHS_SHOWN = 10
# What `vx11 run` ends with when a case did not pass.
FAILED = 1


def steps(failure: Failure) -> list[Step]:
    """Section 7: back to how this run found it."""
    catalogue, allowlist = failure.bundle / CATALOGUE, failure.bundle / ALLOWLIST
    check = shell("vx11", "allowlist", "check", "--catalogue", catalogue, "--allowlist", allowlist)
    again = f"{shell('vx11', 'run', failure.matrix, '--case', failure.case)} || test $? -eq {FAILED}"
    return [
        Step(purpose="close every window, so that nothing runs with the patch", command="vx11 solo-madre"),
        *(_from_git(failure.revision, failure.bundle) if failure.revision else _from_copy(failure.bundle)),
        Step(purpose="what may be opened is what was allowed", command=check),
        Step(purpose="the case comes to its end as before the patch, which may be to fail", command=again),
        Step(purpose="only the core runs", command="vx11 solo-madre --check"),
    ]


def _from_copy(bundle: Path) -> list[Step]:
    kept = bundle.with_name(f"{bundle.name}.before-patch")
    made = shell("cp", "-a", "--", bundle, kept)
    purpose = (
        "bring the bundle back; the commit to return to is unknown, since it is in no git repository, so make a copy "
        f"before it is patched: {made}"
    )
    return [Step(purpose=purpose, command=shell("cp", "-a", "--", f"{kept}/.", bundle))]


def _from_git(revision: Revision, bundle: Path) -> list[Step]:
    purpose = "bring the bundle back to the commit of this run"
    if revision.changed:
        shown = ", ".join(revision.changed[:PATHS_SHOWN])
        more = f" and {len(revision.changed) - PATHS_SHOWN} more" if len(revision.changed) > PATHS_SHOWN else ""
        purpose += f"; this discards what was changed and not committed then: {shown}{more}"
    git = ("git", "-C", revision.root)
    diff = shell(*git, "diff", revision.commit, "--", bundle)
    back = shell(*git, "checkout", "--no-overlay", revision.commit, "--", bundle)
    return [
        Step(purpose="see what differs from the commit of this run", command=diff),
        Step(purpose=purpose, command=back),
    ]
