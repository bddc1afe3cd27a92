"""Workers, each of which plays one playbook: a place has the next one ready before it is needed."""

import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

# In the environment of a worker and of all that it starts: its mark.
MARK = "VX11_RUN_ID"


class Worker:
    """A process that is ready to play one playbook, or will be in a quarter of a second.

    Args:
        environment: what it carries beside its mark.
        folder: a private one, for its log.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self.mark = str(uuid.uuid4())
        self.log = folder / f"worker-{self.mark}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vx11.conductor.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env=dict(os.environ) | dict(environment) | {MARK: self.mark},
            )

    def dismiss(self) -> None:
        """Ends it when it was given nothing to do."""
        self.process.kill()
        self.process.communicate()


class Workers:
    """Those of one place.

    Attributes:
        go_on: there will be more to do; then the next one becomes ready while this one plays.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self.go_on = False
        self._environment = environment
        self._folder = folder
        self._ahead: Worker | None = None

    def prepare(self) -> None:
        """Starts the next one, unless that is done."""
        self._ahead = self._ahead or Worker(self._environment, self._folder)

    def take(self) -> Worker:
        """The next one."""
        if self._ahead and self._ahead.process.poll() is not None:  # it was ended with everything else of its place
            self.end()
        taken = self._ahead or Worker(self._environment, self._folder)
        self._ahead = None
        if self.go_on:
            self.prepare()
        return taken

    def end(self) -> None:
        """Ends the one that nobody took."""
        if self._ahead:
            self._ahead.dismiss()
            self._ahead = None
