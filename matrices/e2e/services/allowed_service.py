"""allowed-service: tells who it is and what it can see, so that a suite can judge how well a window is closed off.

GET /whoami -> {"service", "pid", "uid", "read_only_root", "visible_env"}: names of environment variables, never values.
"""

import argparse
import os

from _http import Request, Server


def whoami(name: str) -> dict[str, object]:
    """What this process is, as it sees itself."""
    return {
        "service": name,
        "pid": os.getpid(),
        "uid": os.getuid(),
        "read_only_root": bool(os.statvfs("/").f_flag & os.ST_RDONLY),
        "visible_env": sorted(os.environ),
    }


def main() -> None:
    """Runs the service until it is told to stop."""
    parser = argparse.ArgumentParser(description="Answers who it is and what it can see.")
    parser.add_argument("--name", default="allowed-service", help="the name to answer with (default: %(default)s)")
    name = parser.parse_args().name

    def answer(_request: Request) -> dict[str, object]:
        return whoami(name)

    Server(name, {"/whoami": {"GET": answer}}).run()


if __name__ == "__main__":
    main()
