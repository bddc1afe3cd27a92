# Copyright (c) VX11 maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls to madre over HTTP, with the standard library and ansible.module_utils.urls alone."""

from __future__ import annotations

import json
import re
import ssl
import time
import typing as t
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit

from ansible.module_utils.urls import Request

# How long madre may hold an answer back. A window has to be ready within 10 s unless its service says otherwise, and a
# chain of dependencies is opened one after the other; stop graces add up likewise. SOLO_MADRE has 30 s of its own.
WINDOW_WAIT_S = 60.0
SOLO_MADRE_WAIT_S = 30.0

# For where no certificate can occur. The usual context takes 20 ms to load its authorities.
NOBODY_TRUSTED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

WINDOW_KEYS = ("window_id", "service", "state", "hold", "changed")

Json = t.Dict[str, t.Any]


class MadreError(Exception):
    """Why madre did not do what was asked, as a sentence.

    problem: status, code, detail and errors of madre's problem document; all null (errors empty) if it sent none.
    facts: what else the result of a failed task should hold.
    """

    def __init__(self, message: str, problem: Json | None = None, **facts: t.Any) -> None:
        super().__init__(message)
        self.problem: Json = {"status": None, "code": None, "detail": None, "errors": []}
        self.problem.update(problem or {})
        self.facts = facts

    @property
    def code(self) -> str | None:
        """The code of the problem document, for example C(no_window)."""
        return self.problem["code"]

    @property
    def is_refusal(self) -> bool:
        """Whether madre understood and would not do it: a problem document with a status 4xx."""
        return self.code is not None and 400 <= (self.problem["status"] or 0) < 500

    def result(self) -> Json:
        """The arguments of fail_json."""
        return dict(self.facts, msg=str(self), problem=self.problem)


class MadreClient:
    """One host's madre, behind its base URL.

    request_ms: how long the last call took, in milliseconds; None before the first.
    """

    def __init__(self, url: str | None, token: str | None, timeout: float = 30.0, validate_certs: bool = True) -> None:
        """Raises MadreError if the URL or the token is missing or malformed. timeout is in seconds."""
        self.url = _checked_url(url)
        self._token = _checked_token(token, self.url)
        self._timeout = timeout
        self._validate_certs = validate_certs
        self.request_ms: float | None = None

    def status(self, service: str | None = None, closed: bool = False) -> Json:
        """What madre says of the host, or of one service; with the recently closed windows if `closed`."""
        query = {"service": service, "closed": "true" if closed else None}
        text = urlencode({key: value for key, value in query.items() if value is not None})
        path = "/api/v1/windows/status" + ("?" + text if text else "")
        return self._call("GET", path, expect=("windows", "solo_madre", "checked_at"))

    def window(self, verb: str, body: Json) -> Json:
        """POST to /api/v1/windows/<verb>: the window, with `changed`."""
        wait_s = WINDOW_WAIT_S if body.get("wait") else 0.0
        return self._call("POST", f"/api/v1/windows/{verb}", body, WINDOW_KEYS, wait_s)

    def fault(self, service: str, kind: str, active: bool) -> Json:
        """Put a fault into the window of a service, or take it away: the window, with `faults`, `proof`, `changed`."""
        body = {"service": service, "kind": kind, "active": active}
        return self._call("POST", "/api/v1/windows/fault", body, (*WINDOW_KEYS, "faults"), WINDOW_WAIT_S)

    def solo_madre(self, dry_run: bool, foreign: t.Optional[str] = None) -> Json:
        """Return the host to SOLO_MADRE, or with `dry_run` only look; `foreign` is `report` or `stop`."""
        body: Json = {"dry_run": dry_run}
        if foreign:
            body["foreign"] = foreign
        return self._call("POST", "/api/v1/system/solo_madre", body, ("solo_madre", "changed"), SOLO_MADRE_WAIT_S)

    def _call(
        self, method: str, path: str, body: Json | None = None, expect: t.Sequence[str] = (), wait_s: float = 0.0
    ) -> Json:
        target = self.url + path
        started = time.monotonic()
        try:
            status, content = self._send(method, target, body, self._timeout + wait_s)
            return _judged(f"{method} {target}", status, content, expect)
        except MadreError as error:
            error.facts["request_ms"] = _ms_since(started)
            raise
        finally:
            self.request_ms = _ms_since(started)

    def _send(self, method: str, target: str, body: Json | None, timeout: float) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json, application/problem+json"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode("utf-8")
        try:
            answer = Request().open(
                method,
                target,
                data=data,
                headers=headers,
                timeout=timeout,
                validate_certs=self._validate_certs,
                context=NOBODY_TRUSTED if _is_plain(target) else None,
                use_proxy=not _is_loopback(target),
                # An entry for the host in ~/.netrc would replace our Authorization header.
                use_netrc=False,
                follow_redirects="none",
                http_agent="vx11.power",
            )
            return answer.status, answer.read()
        except HTTPError as error:
            return error.code, _body_of(error)
        except (OSError, HTTPException) as error:
            raise MadreError(_unreachable(f"{method} {target}", error, timeout)) from error


_CHECK_URL = "Check that the url is that of the host's entry (tentaculo_link) or of madre."


def _checked_url(url: str | None) -> str:
    if not url:
        raise MadreError(
            "It is not said where madre is. Set the option url (in playbooks usually from the host variable vx11_url) "
            "or the environment variable VX11_URL, for example to http://127.0.0.1:8000."
        )
    problem = _url_problem(url)
    if problem:
        # The URL itself is not repeated: it may hold a password.
        raise MadreError(f"The url of madre {problem}. Write it like http://127.0.0.1:8000.")
    return url.rstrip("/")


def _url_problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port_ok = parts.port is None or parts.port > 0
    except ValueError as error:
        return f"cannot be read ({error})"
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_ok or re.search(r"\s", url):
        return "is not an http or https URL"
    if parts.username is not None:
        return "holds a user name, but madre knows callers by their token"
    if parts.query or parts.fragment:
        return "holds a query or a fragment"
    return None


def _checked_token(token: str | None, url: str) -> str:
    token = (token or "").strip()
    if not token:
        raise MadreError(
            f"There is no token for madre at {url}. Set the option token or the environment variable VX11_TOKEN; "
            "`vx11 token issue` makes one."
        )
    if not re.match(r"^[\x21-\x7e]+$", token):
        raise MadreError(f"The token for madre at {url} holds blanks or characters that no token has.")
    return token


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _is_plain(url: str) -> bool:
    """Whether no certificate can occur on the way, not even a proxy's."""
    return urlsplit(url).scheme == "http" and _is_loopback(url)


def _ms_since(started: float) -> float:
    return round((time.monotonic() - started) * 1000, 3)


def _body_of(error: HTTPError) -> bytes:
    """The body of an error answer; empty if the connection broke while it was read, for the status is known by then."""
    try:
        return error.read()
    except (OSError, HTTPException, AttributeError):
        return b""
    finally:
        error.close()


def _json_object(content: bytes) -> Json | None:
    try:
        value = json.loads(content.decode("utf-8"))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _judged(call: str, status: int, content: bytes, expect: t.Sequence[str]) -> Json:
    """The answer, if it is one of madre's: a JSON object with the keys expected."""
    answer = _json_object(content)
    if status >= 300:
        raise _refusal(call, status, answer)
    if answer is None or any(key not in answer for key in expect):
        raise MadreError(f"{call} answered {status} with something that is not madre's. {_CHECK_URL}")
    return answer


def _refusal(call: str, status: int, answer: Json | None) -> MadreError:
    if answer is None or not (answer.get("code") and answer.get("detail")):
        text = f"{call} answered {status}, and not with a problem document as madre does. {_CHECK_URL}"
        return MadreError(text, {"status": status})
    problem = {key: answer.get(key) for key in ("code", "detail")}
    problem.update(status=status, errors=answer.get("errors") or [])
    detail = str(problem["detail"]).rstrip(".")
    fields = _fields(problem["errors"], detail)
    return MadreError(f"{call} was refused: {detail}{fields} ({problem['code']}, {status}).", problem)


def _fields(errors: t.Any, detail: str) -> str:
    """What the errors say of fields and the detail does not."""
    if not isinstance(errors, list):
        return ""
    new = [error for error in errors if isinstance(error, dict) and str(error.get("message")) not in detail]
    return "".join(f"; {error.get('field')}: {error.get('message')}" for error in new)


def _unreachable(call: str, error: Exception, timeout: float) -> str:
    reason = error.reason if isinstance(error, URLError) else error
    # On Python 3.8 and 3.9 socket.timeout is not a TimeoutError.
    if isinstance(reason, TimeoutError) or "timed out" in str(reason):
        return f"{call} was not answered within {timeout:g} s. See whether madre is busy, or raise the option timeout."
    text = str(reason) or type(reason).__name__
    return f"{call} failed: {text.rstrip('.')}. See whether the host is up, madre runs, and the url is right."
