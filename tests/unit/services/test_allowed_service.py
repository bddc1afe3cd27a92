"""allowed-service: tells the truth about itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.unit.services.conftest import Start


def test_it_says_who_it_is(start: Start) -> None:
    service = start("allowed_service.py")
    answer = service.http.get("/whoami").json()
    assert answer["service"] == "allowed-service"
    assert answer["pid"] == service.process.pid
    assert answer["uid"] == os.getuid()
    assert answer["read_only_root"] == bool(os.statvfs("/").f_flag & os.ST_RDONLY)


def test_it_answers_to_another_name(start: Start) -> None:
    service = start("allowed_service.py", "--name", "blocked-service")
    assert service.http.get("/whoami").json()["service"] == "blocked-service"


def test_it_shows_names_of_variables_and_no_values(start: Start) -> None:
    answer = start("allowed_service.py", env={"VX11_TOKEN": "very-secret"}).http.get("/whoami")
    names = answer.json()["visible_env"]
    assert "VX11_TOKEN" in names
    assert names == sorted(names)
    assert "very-secret" not in answer.text
