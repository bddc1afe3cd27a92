"""Hosts by hand: `python -m tests.hosts up` starts one and prints its inventory; `list` and `down` see to the rest."""

import argparse
import json
import shlex
import sys

import docker

from tests.hosts.errors import HostError
from tests.hosts.host import TestHost, left


def main() -> int:
    """Entry point; 0 done, 3 when a host cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m tests.hosts", description="Hosts for tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start a host, print its inventory as JSON and how to log in")
    up.add_argument("name", nargs="?", default="", help="its name, one that no other host has")
    commands.add_parser("list", help="print the names of all hosts that are on this machine")
    down = commands.add_parser("down", help="remove hosts with all that is theirs")
    down.add_argument("names", nargs="+", metavar="name")
    chosen = parser.parse_args()
    try:
        if chosen.command == "up":
            _up(chosen.name)
        elif chosen.command == "list":
            _list()
        else:
            for name in chosen.names:
                TestHost(name).remove()
    except (HostError, docker.errors.DockerException) as error:
        print(f"hosts: {error}", file=sys.stderr)  # noqa: T201 - what a command says
        return 3
    return 0


def _up(name: str) -> None:
    host = TestHost(name)
    host.start()
    print(json.dumps({"all": {"hosts": {host.name: host.inventory()}}}, indent=2))  # noqa: T201 - its output
    print(shlex.join(host.ssh_command()), file=sys.stderr)  # noqa: T201 - a hint beside it


def _list() -> None:
    client = docker.from_env()
    print("\n".join(left(client)))  # noqa: T201 - its output
    client.close()


if __name__ == "__main__":
    sys.exit(main())
