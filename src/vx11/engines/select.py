"""Picks an engine by name; `auto` is docker where a daemon answers, else process, and says which and why."""

from pathlib import Path
from typing import Literal

from vx11.engines import cgroups
from vx11.engines.docker import DockerEngine, connect
from vx11.engines.port import Engine, EngineError
from vx11.engines.process import ProcessEngine

EngineName = Literal["auto", "docker", "process"]
_AUTO_TIMEOUT = 2.0


def make(name: EngineName, cell: str, state: Path, data: Path) -> Engine:
    """An engine that is ready to be used.

    Args:
        name: which one.
        cell: the cell whose mark it puts on what it starts.
        state: folder of the cell's state.
        data: folder of named volumes, for engines without volumes of their own.

    Raises:
        EngineError: the engine that was asked for is not there.
    """
    if name == "process":
        return ProcessEngine(cell, state, data, cgroups.detect())
    if name == "docker":
        return DockerEngine(cell, state, connect())
    try:
        connect(_AUTO_TIMEOUT).close()
        return DockerEngine(cell, state, connect(), why="a Docker daemon answers")
    except EngineError as error:
        return ProcessEngine(cell, state, data, cgroups.detect(), why=str(error))
