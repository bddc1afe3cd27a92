"""Tokens: HS256 alone, with every claim, for this cell, now."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vx11 import tokens
from vx11.errors import InputError

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))


def claims(**changes: Any) -> dict[str, Any]:
    """All that a token has to say; None takes a claim away."""
    known = {
        "iss": "vx11-madre",
        "sub": "anna",
        "aud": "default",
        "exp": int(time.time()) + 3600,
        "jti": "id-1",
        "scope": "power:read power:write",
    }
    return {name: value for name, value in (known | changes).items() if value is not None}


def signed(key: bytes = KEY, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)


def part(data: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()


def by_hand(header: dict[str, Any]) -> str:
    """A token whose signature is HMAC-SHA256 with our key, whatever its header claims."""
    body = f"{part(header)}.{part(claims())}"
    digest = hmac.new(KEY, body.encode(), hashlib.sha256).digest()
    return f"{body}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def test_an_issued_token_says_who_comes_and_what_they_may() -> None:
    token = tokens.issue(KEY, subject="anna", scopes=["power:write", "svc:web", "power:write"], ttl=60, cell="c1")
    bearer = tokens.check(token, KEY, cell="c1")
    assert bearer.subject == "anna"
    assert bearer.scopes == {"power:write", "svc:web"}
    assert bearer.token_id
    other = tokens.issue(KEY, subject="anna", scopes=["power:write"], ttl=60, cell="c1")
    assert tokens.check(other, KEY, cell="c1").token_id != bearer.token_id


@pytest.mark.parametrize(
    "token",
    [
        "",
        "not a token",
        "a.b.c",
        "\u00fc.\u00fc.\u00fc",
        f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims())}.",
        by_hand({"alg": "none", "typ": "JWT"}),
        by_hand({"alg": "HS512", "typ": "JWT"}),
        by_hand({"alg": "RS256", "typ": "JWT"}),
        by_hand({"typ": "JWT"}),
        signed(KEY * 2, "HS512"),
        signed(KEY * 2, "HS384"),
        signed(OTHER_KEY),
        signed(iss="somebody-else"),
        signed(aud="other-cell"),
        signed(aud=["other-cell"]),
        signed(exp=int(time.time()) - 1),
        signed(exp="never"),
        signed(nbf=int(time.time()) + 3600),
        signed(scope=["power:read"]),
        signed(scope=5),
        signed(headers={"crit": ["exp"], "b64": False}),
        *(signed(**{name: None}) for name in ("iss", "sub", "aud", "exp", "jti", "scope")),
    ],
)
def test_a_token_that_is_not_wholly_right_is_refused(token: str) -> None:
    with pytest.raises(tokens.TokenRefused):
        tokens.check(token, KEY, cell="default")


def test_the_tests_own_token_would_be_accepted() -> None:
    assert tokens.check(signed(exp=4_000_000_000), KEY, cell="default").expires == 4_000_000_000
    assert tokens.check(by_hand({"alg": "HS256", "typ": "JWT"}), KEY, cell="default").subject == "anna"


@pytest.mark.parametrize(
    ("changes", "accepted"),
    [
        ({"aud": None, "jti": None}, True),
        ({"aud": None}, True),
        ({"jti": None}, True),
        ({"aud": "other-cell"}, False),
        ({"aud": None, "scope": None}, False),
        ({"aud": None, "exp": int(time.time()) - 1}, False),
        ({"aud": None, "iss": "somebody-else"}, False),
    ],
)
def test_where_aud_and_jti_are_not_required_they_are_checked_when_present(
    changes: dict[str, Any], *, accepted: bool
) -> None:
    token = signed(**changes)
    if accepted:
        assert tokens.check(token, KEY, cell="default", require_aud_jti=False).subject == "anna"
        return
    with pytest.raises(tokens.TokenRefused):
        tokens.check(token, KEY, cell="default", require_aud_jti=False)


@given(st.data())
def test_no_single_character_of_a_token_can_be_changed(data: st.DataObject) -> None:
    token = signed(exp=4_000_000_000)
    place = data.draw(st.integers(min_value=0, max_value=len(token) - 2))  # the last one has bits that do not count
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
    letter = data.draw(st.sampled_from(letters.replace(token[place], "")))
    with pytest.raises(tokens.TokenRefused):
        tokens.check(token[:place] + letter + token[place + 1 :], KEY, cell="default")


@pytest.mark.parametrize("scopes", [[], ["power:everything"], ["power:read", "admin"], ["POWER:READ"], [""]])
def test_an_unknown_scope_is_not_issued(scopes: list[str]) -> None:
    with pytest.raises(InputError, match=r"unknown scope: .*known are: .*power:read"):
        tokens.issue(KEY, subject="anna", scopes=scopes, ttl=60, cell="default")


def test_a_new_key_is_private_and_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "key"
    tokens.new_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    key = tokens.read_key(path)
    assert len(key) == 32
    with pytest.raises(InputError, match="File exists"):
        tokens.new_key(path)
    assert tokens.read_key(path) == key
    tokens.new_key(tmp_path / "other")
    assert tokens.read_key(tmp_path / "other") != key


def test_a_key_cannot_be_made_where_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone/key: a key cannot be made here: No such file"):
        tokens.new_key(tmp_path / "gone" / "key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o601, 0o666])
def test_a_key_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    tokens.new_key(path)
    path.chmod(mode)
    with pytest.raises(InputError, match=rf"can be read by others \(mode {mode:04o}\); run: chmod 600 "):
        tokens.read_key(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"secret\n",
        b"0" * 63,
        b"0" * 65,
        b"A" * 64,
        b"g" * 64,
        "\u00e4".encode() * 32,
        b"0" * 64 + b"\n" + b"0" * 64,
    ],
)
def test_a_key_of_another_form_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(InputError, match="is not 64 hexadecimal characters"):
        tokens.read_key(path)


def test_a_missing_key_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No such file.*make one with: vx11 token new-key --key"):
        tokens.read_key(tmp_path / "key")
