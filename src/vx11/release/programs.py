"""Programs of the machine that something here is found out with."""

import shutil
import subprocess

from vx11.errors import EnvironmentProblem

TIMEOUT = 60.0


def run(name: str, *words: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    """Runs one to its end, whatever that is.

    Args:
        given: what it reads.

    Raises:
        EnvironmentProblem: it is not installed, or does not end within a minute.
    """
    program = shutil.which(name)
    if program is None:
        raise EnvironmentProblem(f"the program {name} is needed, and is not installed")
    try:
        return subprocess.run(
            [program, *words], input=given, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EnvironmentProblem(f"{name} {words[0]} does not end") from error
