"""Runs tentaculo_link: renders the configuration of HAProxy, starts it, and has it follow catalogue and keys."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from vx11 import files, tokens
from vx11.catalogue import compose
from vx11.errors import EnvironmentProblem, Vx11Error
from vx11.gateway.config import Behind, Link, render
from vx11.gateway.runtime import GatewayGone, Runtime

PROGRAM = "haproxy"
LOOK_EVERY = 1.0
START_TIMEOUT = 10.0
STOP_TIMEOUT = 10.0


class Tentaculo:
    """One gateway.

    Args:
        link: what it is.
        catalogue: Compose file with the services.
        key: file with what tokens for services are signed with.
        endpoints: paths that madre answers.
        complain: told what is wrong with a file that has changed; HAProxy goes on as it was.
    """

    def __init__(
        self, link: Link, catalogue: Path, key: Path, endpoints: Iterable[str], complain: Callable[[str], None]
    ) -> None:
        self._link = link
        self._catalogue = catalogue
        self._key = key
        self._endpoints = tuple(endpoints)
        self._complain = complain
        self._runtime = Runtime(link.socket)
        self._seen = self._signatures()

    def text(self, keys: Sequence[str]) -> str:
        """The configuration as it has to be now; windows that are open stay so.

        Args:
            keys: what tokens for services are signed with.

        Raises:
            InputError: the catalogue is wrong.
        """
        ports: dict[str, int] = {}
        with contextlib.suppress(GatewayGone):
            ports = self._runtime.ports()
        services = Behind.of(compose.load(self._catalogue).services.values(), ports)
        return render(self._link, keys, services, self._endpoints)

    def run(self, stopping: threading.Event, ready: Callable[[], None]) -> None:
        """Serves until it is told to stop.

        Args:
            ready: called when it listens.

        Raises:
            InputError: a file is wrong.
            EnvironmentProblem: there is no HAProxy, it cannot be started, or it has ended.
        """
        self.write()
        with self._haproxy() as haproxy:
            self._await_start(haproxy, stopping)
            ready()
            while not stopping.wait(LOOK_EVERY):
                _expect_alive(haproxy)
                self._follow(haproxy)

    def write(self) -> bool:
        """Writes what HAProxy reads when it starts or is reloaded, if it would take it; says whether that is new.

        Raises:
            InputError: a file is wrong.
            EnvironmentProblem: there is no HAProxy, or it does not take its configuration.
        """
        self._link.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._link.revoked.touch(mode=0o600)
        text = self.text(self._keys())
        if self._link.configuration.exists() and text == self._link.configuration.read_text(encoding="utf-8"):
            return False
        with contextlib.suppress(GatewayGone):
            ids = self._runtime.revoked(self._link.revoked)
            self._link.revoked.write_text("".join(f"{one}\n" for one in sorted(ids)), encoding="ascii")
        self._replace(text)
        return True

    @contextlib.contextmanager
    def _haproxy(self) -> Iterator[subprocess.Popen[bytes]]:
        words = [installed(), "-W", "-q", "-f", str(self._link.configuration)]
        haproxy = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            yield haproxy
        finally:
            haproxy.terminate()
            try:
                haproxy.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                os.killpg(haproxy.pid, signal.SIGKILL)
                haproxy.wait()

    def _await_start(self, haproxy: subprocess.Popen[bytes], stopping: threading.Event) -> None:
        for _ in range(round(START_TIMEOUT / 0.05)):
            with contextlib.suppress(GatewayGone):
                self._runtime.ports()
                return
            _expect_alive(haproxy)
            if stopping.wait(0.05):
                return
        raise EnvironmentProblem(f"HAProxy does not answer within {START_TIMEOUT:g} s")

    def _follow(self, haproxy: subprocess.Popen[bytes]) -> None:
        """Takes over what has changed, and drops no connection; what is wrong is told once, and changes nothing."""
        seen = self._signatures()
        if seen == self._seen:
            return
        try:
            if self.write():
                haproxy.send_signal(signal.SIGUSR2)
        except (Vx11Error, OSError) as error:
            self._complain(f"the gateway goes on as it was: {error}")
        self._seen = seen

    def _keys(self) -> list[str]:
        return [key.hex() for key in tokens.read_keys(self._key)]

    def _replace(self, text: str) -> None:
        """Replaces the configuration, if HAProxy takes it; nobody else can read it.

        Raises:
            EnvironmentProblem: it does not; has what it said.
        """
        partial = self._link.configuration.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        tried = subprocess.run([installed(), "-c", "-f", partial], capture_output=True, text=True, check=False)
        if tried.returncode:
            raise EnvironmentProblem(f"HAProxy does not take its configuration: {tried.stderr.strip()}")
        partial.replace(self._link.configuration)

    def _signatures(self) -> tuple[files.Signature, files.Signature]:
        return files.signature(self._catalogue), files.signature(self._key)


def installed() -> str:
    """The path of HAProxy.

    Raises:
        EnvironmentProblem: there is none.
    """
    found = shutil.which(PROGRAM) or shutil.which(PROGRAM, path="/usr/local/sbin:/usr/sbin")
    if found is None:
        raise EnvironmentProblem("HAProxy is not installed; on Debian: apt-get install haproxy")
    return found


def _expect_alive(haproxy: subprocess.Popen[bytes]) -> None:
    if haproxy.poll() is not None:
        raise EnvironmentProblem(f"HAProxy has ended with {haproxy.returncode}; it said why above")
