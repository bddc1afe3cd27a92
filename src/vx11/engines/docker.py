"""The docker engine: services as containers, over the SDK, on any socket that speaks the Docker API.

A container carries its stamp as labels from the create call on. It never restarts by itself, is published on 127.0.0.1
alone, and is removed when its window closes. Limits and usage are read from the kernel's control group where the daemon
runs on this host, since the API confirms limits that it did not set (moby#52650).
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests
from docker.models.containers import Container
from docker.types import EndpointConfig, LogConfig, Mount, Ulimit

from vx11.catalogue.compose import Service
from vx11.catalogue.limits import Limits
from vx11.engines import cgroups
from vx11.engines.port import EngineError, Found, Health, Running, Stamp, Usage, url_variable
from vx11.statefiles import LOGS

CELL, WINDOW, SERVICE, GENERATION, DEADLINE = (
    f"vx11.{name}" for name in ("cell", "window", "service", "generation", "deadline")
)
CALL_TIMEOUT = 20
EXEC_POLL = 0.02
KEPT_LINES = 2000
_FAILURES = (docker.errors.DockerException, requests.RequestException)


def connect(timeout: float = CALL_TIMEOUT) -> docker.DockerClient:
    """A client for the daemon that the environment names.

    Raises:
        EngineError: no daemon answers.
    """
    try:
        client = docker.from_env(timeout=round(timeout))
        client.ping()
    except _FAILURES as error:
        raise EngineError(f"no Docker daemon answers: {_reason(error)}") from error
    return client


class DockerEngine:
    """Runs services as containers of one Docker daemon."""

    name = "docker"

    def __init__(self, cell: str, state: Path, client: docker.DockerClient, why: str = "asked for") -> None:
        self.why = why
        self._cell = cell
        self._logs = state / LOGS
        self._client = client
        self._network = f"vx11-{cell}"
        self._info: Mapping[str, Any] = client.info()
        self.capabilities = frozenset(self._capabilities())

    def _capabilities(self) -> set[str]:
        claims = {"usage.cpu", "usage.memory", "usage.io", "limits.cpu", "limits.memory", "limits.pids"}
        if self._data_device():
            claims.add("limits.iops")
        return claims

    def _data_device(self) -> str | None:
        """/dev name of the disk that holds the daemon's data, None where this host does not see it."""
        root = Path(self._info.get("DockerRootDir", "/nonexistent"))
        number = cgroups.device_of(root) if root.is_dir() else None
        if number is None:
            return None
        text = Path(f"/sys/dev/block/{number}/uevent").read_text(encoding="ascii")
        names = [line.removeprefix("DEVNAME=") for line in text.splitlines() if line.startswith("DEVNAME=")]
        return f"/dev/{names[0]}" if names else None

    def setup(self) -> None:
        """One network a cell; leaked networks use up the daemon's address pools."""
        with _as_engine_error(f"the network {self._network} could not be made"):
            if not self._client.networks.list(names=[f"^{self._network}$"]):
                self._client.networks.create(self._network, driver="bridge", labels={CELL: self._cell})

    def prepare(self, service: Service) -> None:
        """The image is there; otherwise it is built, when the entry says how, or pulled."""
        if not (service.entry.image or service.entry.build):
            raise EngineError(f"{service.name} has neither image nor build, and the docker engine needs one of them")
        image = self.image_of(service)
        with _as_engine_error(f"the image {image} of {service.name} cannot be had"):
            try:
                self._client.images.get(image)
            except docker.errors.ImageNotFound:
                if service.entry.build:
                    self.build(service)
                else:
                    self._client.images.pull(image)

    def image_of(self, service: Service) -> str:
        """The image's name; an entry that only builds gets one of its own."""
        return service.entry.image or f"vx11/{service.name}:built"

    def build(self, service: Service, tell: Callable[[str], None] = lambda _: None) -> None:
        """Builds the image, with the daemon's cache; the network is the host's, so that packages can be installed.

        Args:
            tell: called with each line that the build writes; what it raises ends the build.

        Raises:
            EngineError: the build failed; has its last lines.
        """
        build = service.entry.build
        assert build is not None
        if not (service.base / build.context).is_dir():
            raise EngineError(
                f"the image of {service.name} was not built: there is no folder {service.base / build.context}"
            )
        tail: list[str] = []
        with _as_engine_error(f"the image of {service.name} was not built"):
            for event in self._client.api.build(
                path=str(service.base / build.context),
                dockerfile=build.dockerfile,
                tag=self.image_of(service),
                buildargs=service.build_arguments(),
                target=build.target or "",
                network_mode="host",
                rm=True,
                forcerm=True,
                decode=True,
                timeout=600,
            ):
                line = event.get("stream", event.get("error", "")).strip()
                tell(line)
                tail = [*tail, line][-12:]
                if "error" in event:
                    raise EngineError(f"the image of {service.name} was not built:\n" + "\n".join(filter(None, tail)))

    def start(self, service: Service, stamp: Stamp, limits: Limits, peers: Sequence[Service]) -> Running:
        """Creates the container with its stamp and limits, then starts it; takes it back when it does not start."""
        self.prepare(service)
        with _as_engine_error(f"{service.name} could not be started"):
            container = self._create(service, stamp, limits, peers)
            try:
                container.start()
                container.reload()
            except _FAILURES:
                with contextlib.suppress(docker.errors.APIError):
                    container.remove(force=True)
                raise
        return Running(self.name, stamp.window_id, container=str(container.id), ports=_published(container))

    def _create(self, service: Service, stamp: Stamp, limits: Limits, peers: Sequence[Service]) -> Container:
        entry = service.entry
        host_network = entry.network_mode == "host"
        placement: dict[str, Any] = {"network_mode": "host"}
        if not host_network:
            alias = EndpointConfig(self._client.api.api_version, aliases=[service.name])
            placement = {
                "network": self._network,
                "networking_config": {self._network: alias},
                "ports": {f"{port.target}/{port.protocol}": self._binding(port) for port in entry.container_ports()},
            }
        return self._client.containers.create(
            self.image_of(service),
            command=list(entry.command) if entry.command else None,
            entrypoint=list(entry.entrypoint) if entry.entrypoint else None,
            name=f"vx11-{stamp.cell}-{stamp.service}-{stamp.window_id[:8]}",
            labels=_labels(service, stamp),
            environment=service.environment() | _peer_urls(peers),
            mounts=self._mounts(service),
            tmpfs={path.partition(":")[0]: path.partition(":")[2] for path in entry.tmpfs},
            user=entry.user,
            working_dir=entry.working_dir,
            read_only=entry.read_only,
            cap_drop=list(entry.cap_drop),
            cap_add=list(entry.cap_add),
            security_opt=list(entry.security_opt),
            init=entry.init,
            ulimits=[Ulimit(name=name, soft=item.soft, hard=item.hard) for name, item in entry.ulimits.items()],
            stop_signal=entry.stop_signal,
            extra_hosts=dict(entry.extra_hosts),
            hostname=None if host_network else entry.hostname,
            privileged=entry.privileged,
            devices=list(entry.devices),
            pid_mode=entry.pid,
            healthcheck={"test": ["NONE"]},
            restart_policy=None,  # Docker's own default is never
            log_config=LogConfig(type="json-file", config={"max-size": "10m", "max-file": "1"}),
            **placement,
            **self._limit_options(service, limits),
        )

    def _binding(self, port: Any) -> tuple[str, int | None]:
        """127.0.0.1 always; the fixed port of the entry in the cell `default` alone."""
        return ("127.0.0.1", port.published if self._cell == "default" else None)

    def _mounts(self, service: Service) -> list[Mount]:
        found = []
        for mount in service.entry.volumes:
            source = mount.source
            if mount.type == "volume":
                source = self._volume(str(mount.source))
            elif mount.type == "bind":
                source = str((service.base / str(mount.source)).resolve())
            found.append(Mount(mount.target, source, type=mount.type, read_only=mount.read_only))
        return found

    def _volume(self, name: str) -> str:
        full = f"vx11-{self._cell}_{name}"
        self._client.volumes.create(full, labels={CELL: self._cell})
        return full

    def _limit_options(self, service: Service, limits: Limits) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if limits.cpu is not None:
            options["nano_cpus"] = round(limits.cpu * 1e9)
        if limits.memory is not None:
            options |= {"mem_limit": limits.memory, "memswap_limit": limits.memory}
        if limits.pids is not None:
            options["pids_limit"] = limits.pids
        blkio = service.entry.blkio_config
        for name, rate, stated in (
            ("device_read_iops", limits.read_iops, blkio.device_read_iops),
            ("device_write_iops", limits.write_iops, blkio.device_write_iops),
        ):
            if stated:
                options[name] = [{"Path": item.path, "Rate": item.rate} for item in stated]
            elif rate is not None and (device := self._data_device()):
                options[name] = [{"Path": device, "Rate": rate}]
        return options

    def _get(self, running: Running) -> Container | None:
        with _as_engine_error(f"the daemon did not answer about container {running.container[:12]}"):
            try:
                return self._client.containers.get(running.container)
            except docker.errors.NotFound:
                return None

    def health(self, running: Running) -> Health:
        """As the daemon says."""
        container = self._get(running)
        if container is None:
            return Health(alive=False)
        state = container.attrs["State"]
        alive = bool(state["Running"]) and not state["Dead"]
        return Health(alive=alive, exit_code=None if alive else state["ExitCode"])

    def stop(self, running: Running, signal: str, grace: float) -> None:
        """The daemon signals, waits and kills."""
        container = self._get(running)
        if container is not None:
            with _as_engine_error(f"container {running.container[:12]} was not stopped"):
                container.stop(timeout=max(0, round(grace)))
            self._expect_ended(running)

    def kill(self, running: Running) -> None:
        """SIGKILL, and wait."""
        container = self._get(running)
        if container is None:
            return
        with _as_engine_error(f"container {running.container[:12]} was not killed"):
            with contextlib.suppress(docker.errors.APIError):  # 409: it ended by itself in between
                container.kill()
            container.wait(timeout=CALL_TIMEOUT)
        self._expect_ended(running)

    def _expect_ended(self, running: Running) -> None:
        if self.health(running).alive:
            raise EngineError(
                f"container {running.container[:12]} still runs after the daemon said that it had stopped"
            )

    def remove(self, running: Running, window_id: str) -> None:
        """Removes the container with its anonymous volumes, and keeps the end of its log."""
        container = self._get(running)
        if container is None:
            return
        with contextlib.suppress(EngineError):  # a log that cannot be read is no reason to stay
            self._keep_log(window_id, self._log_of(container, KEPT_LINES))
        what = f"container {running.container[:12]} was not removed"
        with _as_engine_error(what), contextlib.suppress(docker.errors.NotFound):
            container.remove(v=True, force=True)

    def exec(self, running: Running, command: Sequence[str], timeout: float) -> int:
        """Runs a program in the container; what is given up after `timeout` ends with the container."""
        limit = time.monotonic() + timeout
        with _as_engine_error(f"the health check {command[0]} did not run"):
            check = self._client.api.exec_create(running.container, list(command), stdout=False, stderr=False)["Id"]
            self._client.api.exec_start(check, detach=True)
            while (state := self._client.api.exec_inspect(check))["Running"]:
                if time.monotonic() > limit:
                    raise EngineError(f"the health check {command[0]} took longer than {timeout:g} s")
                time.sleep(EXEC_POLL)
        return int(state["ExitCode"])

    def usage(self, running: Running) -> Usage | None:
        """From the container's control group; None when it does not run, or not on this host."""
        group = self._group(running)
        figures = group.usage() if group else None
        return Usage(**figures, source=f"cgroup v{group.version}") if group and figures else None  # type: ignore[arg-type]

    def limits(self, running: Running) -> Limits:
        """Read back from the control group; from the daemon's own record where the daemon is on another host."""
        group = self._group(running)
        if group:
            return Limits(**group.limits())
        container = self._get(running)
        config = container.attrs["HostConfig"] if container else {}
        rates = {name: config.get(key) or [] for name, key in _IOPS_KEYS.items()}
        return Limits(
            cpu=(config.get("NanoCpus") or 0) / 1e9 or None,
            memory=config.get("Memory") or None,
            pids=config.get("PidsLimit") or None,
            **{name: min(item["Rate"] for item in items) for name, items in rates.items() if items},
        )

    def _group(self, running: Running) -> cgroups.Group | None:
        container = self._get(running)
        pid = container.attrs["State"]["Pid"] if container else 0
        if not pid:
            return None
        # The daemon may run elsewhere, where this pid is another process: the group has to name the container.
        group = cgroups.of_process(pid)
        return group if group and all(running.container in str(folder) for folder in group.folders.values()) else None

    def logs(self, running: Running, window_id: str, tail: int) -> list[str]:
        """From the daemon while the container is there, afterwards from what was kept of it."""
        container = self._get(running)
        if container is None:
            return self._kept_log(window_id)[-tail:]
        return self._log_of(container, tail)

    def _log_of(self, container: Container, tail: int) -> list[str]:
        with _as_engine_error(f"the log of container {str(container.id)[:12]} was not read"):
            text: bytes = container.logs(tail=tail)
        return text.decode("utf-8", errors="replace").splitlines()

    def _keep_log(self, window_id: str, lines: Sequence[str]) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        (self._logs / f"{window_id}.log").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def _kept_log(self, window_id: str) -> list[str]:
        try:
            return (self._logs / f"{window_id}.log").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []

    def inventory(self, cell: str) -> list[Found]:
        """Running containers with the cell's label."""
        with _as_engine_error("the containers could not be listed"):
            containers = self._client.containers.list(filters={"label": f"{CELL}={cell}"}, ignore_removed=True)
        return [
            Found(
                container.labels.get(WINDOW, ""),
                container.labels.get(SERVICE, ""),
                f"container {container.name}",
                Running(
                    self.name,
                    container.labels.get(WINDOW, ""),
                    container=str(container.id),
                    ports=_published(container),
                ),
            )
            for container in containers
        ]

    def foreign(self, cell: str) -> list[str]:
        """In the cell `default`, which judges the whole host: every running container that is not its own."""
        if cell != "default":
            return []
        with _as_engine_error("the containers could not be listed"):
            containers = self._client.containers.list(ignore_removed=True)
        return [f"container {item.name}" for item in containers if item.labels.get(CELL) != cell]

    def residue(self, cell: str) -> list[str]:
        """Containers, networks and volumes with the cell's label."""
        wanted: dict[str, Any] = {"label": f"{CELL}={cell}"}
        with _as_engine_error("what the cell left could not be listed"):
            containers = self._client.containers.list(all=True, filters=wanted, ignore_removed=True)
            found = [f"container {item.name}" for item in containers]
            found += [f"network {item.name}" for item in self._client.networks.list(filters=wanted)]
            found += [f"volume {item.name}" for item in self._client.volumes.list(filters=wanted)]
        return found

    def remove_volumes(self, cell: str) -> None:
        """Those with the cell's label."""
        with _as_engine_error("the volumes of the cell could not be removed"):
            for volume in self._client.volumes.list(filters={"label": f"{CELL}={cell}"}):
                volume.remove(force=True)

    def purge(self, cell: str) -> None:
        """Removes all that `residue` names."""
        wanted: dict[str, Any] = {"label": f"{CELL}={cell}"}
        with _as_engine_error("what the cell left could not be removed"):
            for container in self._client.containers.list(all=True, filters=wanted, ignore_removed=True):
                with contextlib.suppress(docker.errors.NotFound):
                    container.remove(v=True, force=True)
            for network in self._client.networks.list(filters=wanted):
                network.remove()
        self.remove_volumes(cell)


_IOPS_KEYS = {"read_iops": "BlkioDeviceReadIOps", "write_iops": "BlkioDeviceWriteIOps"}


def _labels(service: Service, stamp: Stamp) -> dict[str, str]:
    own = {name: value or "" for name, value in service.entry.labels.items()}
    return own | {
        CELL: stamp.cell,
        WINDOW: stamp.window_id,
        SERVICE: stamp.service,
        GENERATION: str(stamp.generation),
        DEADLINE: json.dumps(stamp.deadline.to_json(), sort_keys=True),
    }


def _peer_urls(peers: Sequence[Service]) -> dict[str, str]:
    """Peers are reached by name on the cell's network."""
    first_ports = {peer.name: next(iter(peer.entry.container_ports()), None) for peer in peers}
    return {url_variable(name): f"http://{name}:{port.target}" for name, port in first_ports.items() if port}


def _published(container: Container) -> dict[int, int]:
    """Container port → port on 127.0.0.1."""
    bindings = container.attrs["NetworkSettings"]["Ports"] or {}
    return {int(name.partition("/")[0]): int(found[0]["HostPort"]) for name, found in bindings.items() if found}


def _reason(error: Exception) -> str:
    return str(getattr(error, "explanation", None) or error)


@contextlib.contextmanager
def _as_engine_error(what: str) -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        raise EngineError(f"{what}: {_reason(error)}") from error
