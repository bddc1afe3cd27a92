"""What a user reads when madre cannot be reached, or what answers is not madre."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from ansible_collections.vx11.power.plugins.module_utils import client
from ansible_collections.vx11.power.plugins.module_utils.client import MadreError
from ansible_collections.vx11.power.plugins.modules import vx11_solo_madre, vx11_window, vx11_window_info

Run = Callable[..., dict[str, Any]]
NOTHING_KNOWN = {"status": None, "code": None, "detail": None, "errors": []}

MODULES = [
    pytest.param(vx11_window, {"service": "a"}, "/api/v1/windows/open", id="vx11_window"),
    pytest.param(vx11_window_info, {}, "/api/v1/windows/status", id="vx11_window_info"),
    pytest.param(vx11_solo_madre, {}, "/api/v1/system/solo_madre", id="vx11_solo_madre"),
]


@pytest.mark.parametrize(("module", "options", "path"), MODULES)
def test_a_dead_server(run_module: Run, dead_url: str, module: Any, options: dict[str, Any], path: str) -> None:
    result = run_module(module, url=dead_url, **options)
    assert result["failed"] is True
    assert dead_url + path in result["msg"]
    assert "refused" in result["msg"]
    assert "See whether the host is up" in result["msg"]
    assert result["problem"] == NOTHING_KNOWN
    assert "exception" not in result


@pytest.mark.parametrize(("module", "options", "path"), MODULES)
@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"<html>Welcome</html>", "answered 200 with something that is not madre's"),
        (200, {"hello": "world"}, "answered 200 with something that is not madre's"),
        (200, ["windows"], "answered 200 with something that is not madre's"),
        (502, b"<html>Bad Gateway</html>", "answered 502, and not with a problem document"),
        (404, {"detail": "Not Found"}, "answered 404, and not with a problem document"),
        (500, b"\xff\xfe", "answered 500, and not with a problem document"),
        (301, b"", "answered 301, and not with a problem document"),
    ],
)
def test_an_answer_that_is_not_of_madre(
    madre: Any, run_module: Run, module: Any, options: dict[str, Any], path: str, status: int, body: object, said: str
) -> None:
    madre.answer(path, body, status, "text/html")
    result = run_module(module, **options)
    assert result["failed"] is True
    assert said in result["msg"]
    assert madre.url + path in result["msg"]
    assert result["problem"]["status"] == (status if status >= 300 else None)
    assert result["problem"]["code"] is None
    assert "exception" not in result
    assert len(madre.requests) == 1  # a redirect is not followed


@pytest.mark.parametrize(("module", "options", "path"), MODULES)
@pytest.mark.parametrize("token", [None, ""])
def test_a_missing_token(
    madre: Any, run_module: Run, module: Any, options: dict[str, Any], path: str, token: str | None
) -> None:
    result = run_module(module, token=token, **options)
    assert result["failed"] is True
    assert "There is no token for madre" in result["msg"]
    assert "VX11_TOKEN" in result["msg"]
    assert madre.requests == []


@pytest.mark.parametrize(("module", "options", "path"), MODULES)
@pytest.mark.parametrize("url", [None, ""])
def test_a_missing_url(run_module: Run, module: Any, options: dict[str, Any], path: str, url: str | None) -> None:
    result = run_module(module, url=url, **options)
    assert result["failed"] is True
    assert "VX11_URL" in result["msg"]


def test_url_and_token_from_the_environment(
    madre: Any, run_module: Run, status: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VX11_URL", madre.url + "/")
    monkeypatch.setenv("VX11_TOKEN", "from-the-environment\n")
    madre.answer("/api/v1/windows/status", status())
    result = run_module(vx11_window_info, url=None, token=None)
    assert result["solo_madre"] is True
    assert madre.requests[0]["headers"]["Authorization"] == "Bearer from-the-environment"


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "ftp://127.0.0.1",
        "http://",
        "http://127.0.0.1:port",
        "http://127.0.0.1:99999",
        "http://127.0.0.1/ here",
        "http://[::1",
        "http://127.0.0.1:8000/?a=b",
        "http://user:secret-word@127.0.0.1:8000",
    ],
)
def test_a_malformed_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(MadreError, match=r"^The url of madre .*Write it like http://127\.0\.0\.1:8000\.$") as caught:
        client.MadreClient(url, "token")
    assert "secret-word" not in str(caught.value)


def test_a_blank_token_is_none_at_all() -> None:
    with pytest.raises(MadreError, match="There is no token for madre"):
        client.MadreClient("http://127.0.0.1:8000", " \n")


def test_a_malformed_token_is_refused_and_not_repeated() -> None:
    with pytest.raises(MadreError) as caught:
        client.MadreClient("http://127.0.0.1:8000", "secret-word\r\nX-Other: header")
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(("wait", "seconds"), [(True, 0.3), (False, 0.1)])
def test_what_madre_is_asked_to_wait_is_added_to_the_timeout(
    monkeypatch: pytest.MonkeyPatch, wait: bool, seconds: float
) -> None:
    monkeypatch.setattr(client, "WINDOW_WAIT_S", 0.2)
    # It accepts connections, by its backlog, and never answers.
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(MadreError, match=f"was not answered within {seconds} s.*timeout") as caught:
            client.MadreClient(url, "token", timeout=0.1).window("open", {"service": "a", "wait": wait})
    assert caught.value.facts["request_ms"] >= seconds * 1000


def test_a_server_that_breaks_off() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        hang_up = threading.Thread(target=_accept_and_close, args=(server,))
        hang_up.start()
        with pytest.raises(MadreError, match=r"failed: .*See whether the host is up"):
            client.MadreClient(url, "token").status()
        hang_up.join()


def _accept_and_close(server: socket.socket) -> None:
    server.accept()[0].close()


def test_neither_a_proxy_nor_a_netrc_comes_between(
    madre: Any, run_module: Run, status: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, dead_url: str
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", dead_url)
    monkeypatch.delenv("no_proxy", raising=False)
    madre.answer("/api/v1/windows/status", status())
    result = run_module(vx11_window_info)
    assert result["changed"] is False
    assert madre.requests[0]["headers"]["Authorization"] == "Bearer token-of-the-test"


def test_what_the_detail_says_already_is_not_said_twice(madre: Any, run_module: Run) -> None:
    errors = [{"field": "service", "message": "is not known"}, {"field": "closed", "message": "is not a boolean"}]
    madre.refuse("/api/v1/windows/status", 422, "invalid_request", "service: is not known.", errors)
    result = run_module(vx11_window_info)
    assert "was refused: service: is not known; closed: is not a boolean (invalid_request, 422)." in result["msg"]


def test_the_token_is_in_no_result(madre: Any, run_module: Run) -> None:
    madre.refuse("/api/v1/windows/status", 401, "token_invalid", "The token token-of-the-test is not valid.")
    result = run_module(vx11_window_info)
    assert "token-of-the-test" not in str(result)
