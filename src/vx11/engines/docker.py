"""The docker engine: services as containers, over the SDK, on any socket that speaks the Docker API.

A container carries its stamp as labels from the create call on. It never restarts by itself, is published on 127.0.0.1
alone, and is removed when its window closes. Limits and usage are read from the kernel's control group where the daemon
runs on this host, since the API confirms limits that it did not set (moby#52650).
"""

import contextlib
import copy
import hashlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests
from docker.models.containers import Container
from docker.types import EndpointConfig, LogConfig, Mount, Ulimit
from docker.utils import parse_repository_tag

from vx11 import signals
from vx11.catalogue.compose import Service
from vx11.catalogue.limits import Limits
from vx11.engines import bypass, cgroups, netns, procfs
from vx11.engines.port import (
    STOP_SIGNAL,
    EngineError,
    Foreign,
    Found,
    Health,
    NoOwnNetwork,
    Running,
    Stamp,
    Usage,
    url_variable,
)
from vx11.statefiles import LOGS

CELL, WINDOW, SERVICE, GENERATION, DEADLINE = (
    f"vx11.{name}" for name in ("cell", "window", "service", "generation", "deadline")
)
# How the bridges of cells' networks begin, so that rules of a firewall can be about all of them.
BRIDGES = "vx11-"
CORE = "vx11.core"  # what the core itself runs in containers carries this label
DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
CALL_TIMEOUT = 20
READ_TIMEOUT = 5
KILL_TIMEOUT = 5.0
EXEC_POLL = 0.02
KEPT_LINES = 2000
_FAILURES = (docker.errors.DockerException, requests.RequestException)
# The exit code of what SIGKILL has ended.
_KILLED = 128 + signal.SIGKILL
_ALIVE = ("running", "paused", "restarting", "stopping")


def bridge_of(cell: str) -> str:
    """The bridge of a cell's network; names of interfaces have at most 15 characters."""
    return BRIDGES + hashlib.sha256(cell.encode()).hexdigest()[:8]


def connect(timeout: float = CALL_TIMEOUT) -> docker.DockerClient:
    """A client for the daemon that the environment names.

    Raises:
        EngineError: no daemon answers.
    """
    try:
        client = docker.from_env(timeout=round(timeout))
        client.ping()
    except _FAILURES as error:
        address = os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS
        raise EngineError(
            f"no Docker daemon answers at {address} (DOCKER_HOST names another): {_innermost(error)}"
        ) from error
    return client


@dataclass(frozen=True)
class _Place:
    """Where the kernel of this host keeps what it knows about a container.

    Attributes:
        pid, started: its first process.
        group: its control group.
        network: whether it has network interfaces of its own that may be looked at.
    """

    pid: int
    started: int
    group: cgroups.Group
    network: bool

    @classmethod
    def of(cls, container: str, pid: int) -> "_Place | None":
        """None unless this process is on this host and its control group is named after the container.

        The daemon may run elsewhere, where the pid is that of another process.
        """
        group, started = cgroups.of_container(container, pid), procfs.start_time(pid)
        if group is None or started is None:
            return None
        network = procfs.network_of(pid)
        return cls(pid, started, group, network is not None and network != procfs.network_of(os.getpid()))

    def usage(self) -> Usage | None:
        """Present figures, None when the group is gone."""
        figures: dict[str, Any] | None = self.group.usage()
        if figures is None:
            return None
        traffic = procfs.traffic(self.pid) if self.network else None
        if traffic and procfs.start_time(self.pid) == self.started:
            figures |= {"net_rx_bytes": traffic[0], "net_tx_bytes": traffic[1]}
        return Usage(**figures, source=f"cgroup v{self.group.version}")


class DockerEngine:
    """Runs services as containers of one Docker daemon."""

    name = "docker"

    def __init__(self, cell: str, state: Path, client: docker.DockerClient, why: str = "asked for") -> None:
        self.why = why
        self._cell = cell
        self._logs = state / LOGS
        self._client = client
        self._reads = _with_timeout(client.api, READ_TIMEOUT)
        self._places: dict[str, _Place] = {}
        self._network = f"vx11-{cell}"
        self._info: Mapping[str, Any] = client.info()
        self._is_local = _is_local(self._info)
        parts = client.version().get("Components") or []
        self._is_podman = any(part["Name"] == "Podman Engine" for part in parts)
        self.capabilities = frozenset(self._capabilities())

    def _capabilities(self) -> set[str]:
        claims = {"limits.cpu", "limits.memory", "limits.pids", "pause"}
        if self._is_local:
            claims |= {"usage.cpu", "usage.memory", "usage.io"}
            if os.geteuid() == 0:  # others may not look at the namespaces of containers, nor enter them
                claims |= {"usage.network", "partition"}
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
                options = {"com.docker.network.bridge.name": bridge_of(self._cell)}
                labels = {CELL: self._cell}
                self._client.networks.create(self._network, driver="bridge", labels=labels, options=options)

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
                    self._pull(image)

    def _pull(self, image: str) -> None:
        name, tag = parse_repository_tag(image)
        for event in self._client.api.pull(name, tag or "latest", stream=True, decode=True):
            if "error" in event:
                raise docker.errors.DockerException(event["error"])

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
        with _as_engine_error(f"{service.name} could not be started"):
            container = self._create(service, stamp, limits, peers)
            try:
                container.start()
                container.reload()
            except _FAILURES:
                with contextlib.suppress(*_FAILURES):
                    container.remove(force=True)
                raise
        name, network = str(container.id), container.attrs["NetworkSettings"]
        running = Running(
            self.name,
            stamp.window_id,
            container=name,
            ports=_published(network["Ports"] or {}),
            stop_signal=container.attrs["Config"].get("StopSignal") or STOP_SIGNAL,
        )
        place = self._find(name, container.attrs["State"]["Pid"])
        return replace(running, pid=place.pid, start_time=place.started) if place else running

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

    def _inspect(self, running: Running) -> Mapping[str, Any] | None:
        with _as_engine_error(f"the daemon did not answer about container {running.container[:12]}"):
            try:
                return dict(self._reads.inspect_container(running.container))
            except docker.errors.NotFound:
                return None

    def health(self, running: Running) -> Health:
        """As the kernel says while its first process lives on this host, and as the daemon says otherwise."""
        if self.surely_runs(running):
            return Health(alive=True)
        found = self._inspect(running)
        if found is None:
            return Health(alive=False)
        alive = _is_alive(found["State"])
        return Health(alive=alive, exit_code=None if alive else found["State"]["ExitCode"])

    def surely_runs(self, running: Running) -> bool:
        """As the kernel says where its first process is on this host."""
        return bool(running.pid) and procfs.is_alive(running.pid, running.start_time)

    def ask(self, running: Running, signal: str) -> bool:
        """Signals the first process where it is on this host; the daemon sees by itself that a container has ended.

        What is paused has to be resumed by the daemon first.
        """
        place = self._place(running) if running.pid else None
        if place and place.group.is_frozen():
            return False
        try:
            return procfs.send(running.pid, running.start_time, signals.number(signal))
        except PermissionError:
            return False

    def stop(self, running: Running, signal: str, grace: float, *, asked: bool = False) -> bool:
        """The daemon signals, waits and kills; where it does not, this host's kernel is asked directly."""
        if asked:
            return self._await_end(running, grace)
        begun: float | None = None
        try:
            if self._lives(running):  # a daemon that hangs is noticed before the long call
                begun = time.monotonic()
                self._client.api.stop(running.container, timeout=max(0, round(grace)))
                self._expect_ended(running)
        except _FAILURES as error:
            spent = time.monotonic() - begun if begun else 0.0
            self._pass_by(running, error, signals.number(signal), max(0.0, grace - spent))
        return self._has_obeyed(running)

    def _has_obeyed(self, running: Running) -> bool:
        """Whether what has ended did so without a SIGKILL, as far as the daemon knows."""
        try:
            state = self._reads.inspect_container(running.container)["State"]
        except _FAILURES:
            return False
        return bool(state["ExitCode"] != _KILLED)

    def _await_end(self, running: Running, grace: float) -> bool:
        """Of what has had its signal: killed after `grace` seconds, seen by the daemon as ended."""
        if not procfs.wait_gone(running.pid, running.start_time, grace):
            self.kill(running)
            return False
        try:
            with contextlib.suppress(docker.errors.NotFound):
                self._client.api.wait(running.container, timeout=CALL_TIMEOUT)
        except _FAILURES as error:
            self._pass_by(running, error, signal.SIGKILL, 0)
        return True

    def kill(self, running: Running) -> None:
        """SIGKILL, and wait; by the daemon, or without it."""
        try:
            if self._lives(running):
                self._client.api.kill(running.container)
                self._client.api.wait(running.container, timeout=CALL_TIMEOUT)
                self._expect_ended(running)
        except _FAILURES as error:
            self._pass_by(running, error, signal.SIGKILL, 0)

    def _lives(self, running: Running) -> bool:
        """Whether it has to be ended; what is paused is resumed for that, since it handles no signal."""
        try:
            state = self._reads.inspect_container(running.container)["State"]
        except docker.errors.NotFound:
            return False
        if state["Paused"]:
            self._client.api.unpause(running.container)
        return _is_alive(state)

    def _expect_ended(self, running: Running) -> None:
        if self._lives(running):
            raise EngineError(
                f"container {running.container[:12]} still runs after the daemon said that it had stopped"
            )

    def _pass_by(self, running: Running, error: Exception, number: int, grace: float) -> None:
        """Ends a container whose daemon did not answer, or failed; a refusal stands, unless it ended by itself."""
        with contextlib.suppress(*_FAILURES):
            if isinstance(error, docker.errors.APIError) and not self._lives(running):
                return
        what = f"container {running.container[:12]} was not stopped: {_reason(error)}"
        if isinstance(error, docker.errors.APIError) and not error.is_server_error():
            raise EngineError(what) from error
        place = self._places.get(running.container)
        pid, started = (place.pid, place.started) if place else (running.pid, running.start_time)
        try:
            bypass.end(running.container, pid, started, number=number, grace=grace, timeout=KILL_TIMEOUT)
        except bypass.BypassError as unknown:
            raise EngineError(f"{what}; {unknown}") from error

    def pause(self, running: Running) -> None:
        """By the daemon, which freezes its control group."""
        with _as_engine_error(f"container {running.container[:12]} was not paused"):
            if not self._reads.inspect_container(running.container)["State"]["Paused"]:
                self._client.api.pause(running.container)

    def resume(self, running: Running) -> None:
        """By the daemon."""
        with _as_engine_error(f"container {running.container[:12]} was not resumed"):
            if self._reads.inspect_container(running.container)["State"]["Paused"]:
                self._client.api.unpause(running.container)

    def is_paused(self, running: Running) -> bool:
        """As its control group says, or the daemon where that is on another machine."""
        place = self._place(running)
        if place and place.group.can_freeze():
            return place.group.is_frozen()
        found = self._inspect(running)
        return bool(found and found["State"]["Paused"])

    def partition(self, running: Running) -> None:
        """Its interfaces carry nothing any more.

        They are set down inside: `network disconnect` would lose the published port, the address and the alias.
        """
        place = self._networked(running)
        with _as_engine_error(f"container {running.container[:12]} was not cut off"):
            netns.inside(place.pid, lambda: _set_links(up=False))

    def heal(self, running: Running) -> None:
        """The interfaces carry traffic again; the way out, which the kernel forgot meanwhile, is the daemon's."""
        place, networks = self._networked(running), self._networks(running)
        gateway = next((network["Gateway"] for network in networks if network["Gateway"]), "")
        with _as_engine_error(f"the network of container {running.container[:12]} did not come back; close its window"):
            netns.inside(place.pid, lambda: _set_links(up=True, gateway=gateway))

    def reachable(self, running: Running) -> Mapping[str, bool]:
        """Its ports at its own address, which this host has a way to."""
        self._networked(running)
        addresses = [network["IPAddress"] for network in self._networks(running) if network["IPAddress"]]
        ports = tuple(running.ports) or (netns.DISCARD,)
        return {f"{host}:{port}": bool(netns.reply(host, port)) for host in addresses for port in ports}

    def _networked(self, running: Running) -> _Place:
        place = self._place(running)
        if place is None or not place.network or not procfs.is_alive(place.pid, place.started):
            raise NoOwnNetwork(f"container {running.container[:12]} has no network of its own on this machine")
        return place

    def _networks(self, running: Running) -> list[Mapping[str, Any]]:
        found = self._inspect(running)
        return list(found["NetworkSettings"]["Networks"].values()) if found else []

    def remove(self, running: Running, window_id: str) -> None:
        """Removes the container with its anonymous volumes, and keeps the end of its log."""
        self._places.pop(running.container, None)
        if self._inspect(running) is None:
            return
        with contextlib.suppress(EngineError, OSError):  # a log that cannot be read, or kept, is no reason to stay
            self._keep_log(window_id, self._log_of(running, KEPT_LINES))
        self._remove(running.container)

    def _remove(self, container: str) -> None:
        what = f"container {container[:12]} was not removed"
        with _as_engine_error(what), contextlib.suppress(docker.errors.NotFound):
            self._client.api.remove_container(container, v=True, force=True)

    def exec(self, running: Running, command: Sequence[str], timeout: float) -> int:
        """Runs a program in the container; what is given up after `timeout` ends with the container."""
        limit = time.monotonic() + timeout
        with _as_engine_error(f"the health check {command[0]} did not run"):
            api, attached = self._client.api, self._is_podman
            check = api.exec_create(running.container, list(command), stdout=attached, stderr=False)["Id"]
            if attached:  # Podman notes the end of a program for those alone who listen to it
                _listen(api.exec_start(check, socket=True), limit)
            else:
                api.exec_start(check, detach=True)
            while (state := self._reads.exec_inspect(check))["Running"]:
                if time.monotonic() > limit:
                    raise EngineError(f"the health check {command[0]} took longer than {timeout:g} s")
                time.sleep(EXEC_POLL)
        return int(state["ExitCode"])

    def usage(self, running: Running) -> Usage | None:
        """From files of this host's kernel alone; None when it does not run, or not on this host."""
        place = self._place(running)
        return place.usage() if place else None

    def limits(self, running: Running) -> Limits:
        """Read back from the control group; from the daemon's own record where the daemon is on another host."""
        place = self._place(running)
        if place:
            return Limits(**place.group.limits())
        found = self._inspect(running)
        config = found["HostConfig"] if found else {}
        rates = {name: config.get(key) or [] for name, key in _IOPS_KEYS.items()}
        return Limits(
            cpu=(config.get("NanoCpus") or 0) / 1e9 or None,
            memory=config.get("Memory") or None,
            pids=config.get("PidsLimit") or None,
            **{name: min(item["Rate"] for item in items) for name, items in rates.items() if items},
        )

    def _place(self, running: Running) -> _Place | None:
        """Looked for once; the daemon is asked only about what was found by a list, which has no pids."""
        if place := self._places.get(running.container):
            return place
        if running.pid or not self._is_local:
            return self._find(running.container, running.pid)
        found = self._inspect(running)
        return self._find(running.container, found["State"]["Pid"]) if found else None

    def _find(self, container: str, pid: int) -> _Place | None:
        place = _Place.of(container, pid) if pid else None
        if place:
            self._places[container] = place
        return place

    def logs(self, running: Running, window_id: str, tail: int) -> list[str]:
        """From the daemon while the container is there, afterwards from what was kept of it."""
        if self._inspect(running) is None:
            return self._kept_log(window_id)[-tail:]
        return self._log_of(running, tail)

    def _log_of(self, running: Running, tail: int) -> list[str]:
        with _as_engine_error(f"the log of container {running.container[:12]} was not read"):
            # Podman's own tail loses the beginning of lines that were written in pieces.
            text: bytes = self._reads.logs(running.container, tail="all" if self._is_podman else tail)
        return text.decode("utf-8", errors="replace").splitlines()[-tail:]

    def _keep_log(self, window_id: str, lines: Sequence[str]) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        (self._logs / f"{window_id}.log").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def _kept_log(self, window_id: str) -> list[str]:
        try:
            return (self._logs / f"{window_id}.log").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []

    def inventory(self, cell: str) -> list[Found]:
        """Containers with the cell's label, by one call to the daemon."""
        return [
            Found(
                item["Labels"].get(WINDOW, ""),
                item["Labels"].get(SERVICE, ""),
                _called(item),
                self._handle(item),
                generation=_number(item["Labels"].get(GENERATION, "")),
                alive=item["State"] in _ALIVE,
            )
            for item in self._listed({"label": f"{CELL}={cell}"})
        ]

    def foreign(self, cell: str) -> list[Foreign]:
        """In the cell `default`, which judges the whole host: every running container that is not its own."""
        if cell != "default":
            return []
        return [
            Foreign(_called(item), self._handle(item))
            for item in self._listed({})
            if item["State"] in _ALIVE and item["Labels"].get(CELL) != cell and CORE not in item["Labels"]
        ]

    def _listed(self, filters: Mapping[str, str]) -> list[dict[str, Any]]:
        """All containers, running or not, in the short form of the daemon's list."""
        with _as_engine_error("the containers could not be listed"):
            found = self._reads.containers(all=True, filters=dict(filters))
        return [item | {"Labels": item["Labels"] or {}} for item in found]

    def _handle(self, item: Mapping[str, Any]) -> Running:
        ports = {port["PrivatePort"]: port["PublicPort"] for port in item["Ports"] or [] if port.get("PublicPort")}
        return Running(self.name, item["Labels"].get(WINDOW, ""), container=item["Id"], ports=ports)

    def residue(self, cell: str) -> list[str]:
        """Containers, networks and volumes with the cell's label."""
        wanted = {"label": f"{CELL}={cell}"}
        found = [_called(item) for item in self._listed(wanted)]
        with _as_engine_error("what the cell left could not be listed"):
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
        wanted = {"label": f"{CELL}={cell}"}
        for item in self._listed(wanted):
            self._remove(item["Id"])
        with _as_engine_error("what the cell left could not be removed"):
            for network in self._client.networks.list(filters=wanted):
                network.remove()
        self.remove_volumes(cell)


_IOPS_KEYS = {"read_iops": "BlkioDeviceReadIOps", "write_iops": "BlkioDeviceWriteIOps"}


def _is_local(info: Mapping[str, Any]) -> bool:
    """Whether the daemon runs on this host, whose kernel then has the figures of its containers."""
    return info.get("Name") == socket.gethostname() and Path(info.get("DockerRootDir", "/nonexistent")).is_dir()


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


def _published(bindings: Mapping[str, Any]) -> dict[int, int]:
    """Container port → port on 127.0.0.1."""
    return {int(name.partition("/")[0]): int(found[0]["HostPort"]) for name, found in bindings.items() if found}


def _called(item: Mapping[str, Any]) -> str:
    """How a listed container is named in messages."""
    return f"container {item['Names'][0].removeprefix('/') if item['Names'] else item['Id'][:12]}"


def _is_alive(state: Mapping[str, Any]) -> bool:
    """Podman says of what is paused that it does not run."""
    return bool(state["Running"] or state["Paused"]) and not state["Dead"]


def _set_links(*, up: bool, gateway: str = "") -> None:
    """Inside the network of a container."""
    for name in netns.links():
        netns.set_link(name, up=up)
    if gateway and not netns.gateway():
        netns.add_gateway(gateway)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _with_timeout(api: docker.APIClient, timeout: int) -> docker.APIClient:
    """The same connections, with another time limit for each call."""
    other = copy.copy(api)
    other.timeout = timeout
    return other


def _listen(link: Any, limit: float) -> None:
    """Reads until the other side closes, or the monotonic clock shows `limit`."""
    poll = select.poll()
    poll.register(link, select.POLLIN)
    with contextlib.closing(link), contextlib.closing(link._response):  # the SDK keeps the connection there
        while poll.poll(max(0.0, limit - time.monotonic()) * 1000) and os.read(link.fileno(), 65536):
            pass


def _innermost(error: BaseException) -> str:
    """What the system said, where that is the cause; libraries wrap it several times."""
    inner = error.__cause__ or error.__context__
    if inner:
        return _innermost(inner)
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _reason(error: Exception) -> str:
    return str(getattr(error, "explanation", None) or error)


@contextlib.contextmanager
def _as_engine_error(what: str) -> Iterator[None]:
    try:
        yield
    except (*_FAILURES, OSError) as error:
        raise EngineError(f"{what}: {_reason(error)}") from error
