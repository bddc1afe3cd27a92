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
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from vx11 import tokens
from vx11.errors import InputError

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
KEYS = (KEY,)


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


def by_hand(header: dict[str, Any], key: bytes = KEY) -> str:
    """A token whose signature is HMAC-SHA256 with this key, whatever its header claims."""
    body = f"{part(header)}.{part(claims())}"
    digest = hmac.new(key, body.encode(), hashlib.sha256).digest()
    return f"{body}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def test_an_issued_token_says_who_comes_and_what_they_may() -> None:
    token = tokens.issue(KEY, subject="anna", scopes=["power:write", "power:read", "power:write"], ttl=60, cell="c1")
    bearer = tokens.check(token, KEYS, cell="c1")
    assert bearer.subject == "anna"
    assert bearer.scopes == {"power:write", "power:read"}
    assert bearer.token_id
    other = tokens.issue(KEY, subject="anna", scopes=["power:write"], ttl=60, cell="c1")
    assert tokens.check(other, KEYS, cell="c1").token_id != bearer.token_id


def test_a_token_for_services_is_nothing_to_madre() -> None:
    token = tokens.issue(KEY, subject="anna", scopes=["svc:web", "svc:db"], ttl=60, cell="c1")
    with pytest.raises(tokens.TokenRefused):
        tokens.check(token, KEYS, cell="c1")
    assert tokens.claims_of(token, tokens.service_key(KEY))["scope"] == "svc:db svc:web"


def test_a_token_is_for_madre_or_for_services() -> None:
    with pytest.raises(InputError, match="for madre or for services"):
        tokens.issue(KEY, subject="anna", scopes=["power:read", "svc:web"], ttl=60, cell="c1")


@pytest.mark.parametrize("rotated", [False, True])
def test_the_keys_of_services_follow_those_of_the_host(tmp_path: Path, *, rotated: bool) -> None:
    key, derived = tmp_path / "key", tmp_path / "gateway.key"
    tokens.new_key(key)
    if rotated:
        tokens.rotate(key)
    tokens.derive(key, derived)
    assert [found.hex().encode() for found in tokens.read_keys(derived)] == [
        tokens.service_key(found) for found in tokens.read_keys(key)
    ]
    assert derived.stat().st_mode & 0o777 == 0o600


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
        signed(exp=int(time.time()) - tokens.LEEWAY - 1),
        signed(exp="never"),
        signed(exp=1e400),
        signed(iat=int(time.time()) + 3600),
        signed(sub=""),
        signed(sub=5),
        signed(jti=""),
        signed(jti=5),
        signed(sub="madre"),
        signed(sub="tentaculo_link", scope="power:write"),
        signed(headers={"kid": tokens.key_id(OTHER_KEY)}),
        signed(headers={"kid": ""}),
        signed(headers={"kid": "../../etc/passwd"}),
        by_hand({"alg": "HS256", "kid": 5}),
        by_hand({"alg": "hs256"}),
        by_hand({"alg": ["HS256"]}),
        f"{base64.urlsafe_b64encode(b'[' * 5000).decode()}.e30.",
        signed(sub="a" * tokens.LONGEST),
        signed(nbf=int(time.time()) + 3600),
        signed(scope=["power:read"]),
        signed(scope=5),
        signed(headers={"crit": ["exp"], "b64": False}),
        *(signed(**{name: None}) for name in ("iss", "sub", "aud", "exp", "jti", "scope")),
    ],
)
def test_a_token_that_is_not_wholly_right_is_refused(token: str) -> None:
    with pytest.raises(tokens.TokenRefused):
        tokens.check(token, KEYS, cell="default")


def test_the_tests_own_token_would_be_accepted() -> None:
    assert tokens.check(signed(exp=4_000_000_000), KEYS, cell="default").expires == 4_000_000_000 + tokens.LEEWAY
    assert tokens.check(by_hand({"alg": "HS256", "typ": "JWT"}), KEYS, cell="default").subject == "anna"


@pytest.mark.parametrize(
    ("changes", "accepted"),
    [
        ({"aud": None, "jti": None}, True),
        ({"aud": None}, True),
        ({"jti": None}, True),
        ({"aud": "other-cell"}, False),
        ({"aud": None, "scope": None}, False),
        ({"aud": None, "exp": int(time.time()) - 60}, False),
        ({"aud": None, "iss": "somebody-else"}, False),
    ],
)
def test_where_aud_and_jti_are_not_required_they_are_checked_when_present(
    changes: dict[str, Any], *, accepted: bool
) -> None:
    token = signed(**changes)
    if accepted:
        assert tokens.check(token, KEYS, cell="default", require_aud_jti=False).subject == "anna"
        return
    with pytest.raises(tokens.TokenRefused):
        tokens.check(token, KEYS, cell="default", require_aud_jti=False)


def test_a_public_key_is_no_secret_for_an_hmac() -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for token in (
        jwt.encode(claims(), private, algorithm="RS256"),
        jwt.encode(claims(), private, algorithm="RS256", headers={"kid": tokens.key_id(KEY)}),
        by_hand({"alg": "HS256"}, public),
        by_hand({"alg": "RS256", "kid": tokens.key_id(KEY)}),
    ):
        with pytest.raises(tokens.TokenRefused):
            tokens.check(token, KEYS, cell="default")


def test_clocks_may_differ_by_a_little() -> None:
    now = int(time.time())
    for changes in ({"exp": now - 1}, {"nbf": now + 3}, {"iat": now + 3}):
        assert tokens.check(signed(**changes), KEYS, cell="default").subject == "anna"


def test_each_of_two_keys_counts_with_and_without_its_id() -> None:
    for key in (KEY, OTHER_KEY):
        for headers in (None, {"kid": tokens.key_id(key)}):
            assert tokens.check(signed(key, headers=headers), (KEY, OTHER_KEY), cell="default").subject == "anna"
    crossed = signed(OTHER_KEY, headers={"kid": tokens.key_id(KEY)})
    with pytest.raises(tokens.TokenRefused, match="its signature is not by a key of this host"):
        tokens.check(crossed, (KEY, OTHER_KEY), cell="default")


def test_a_revoked_token_is_refused_by_its_id() -> None:
    with pytest.raises(tokens.TokenRefused, match="it was revoked"):
        tokens.check(signed(), KEYS, cell="default", revoked={"id-1"})
    assert tokens.check(signed(), KEYS, cell="default", revoked={"id-2"}).token_id == "id-1"


@pytest.mark.parametrize(
    ("token", "subject", "token_id"),
    [
        (signed(exp=1), "anna", "id-1"),
        (signed(aud="other-cell"), "anna", "id-1"),
        (signed(sub=5), "", "id-1"),
        (signed(OTHER_KEY, exp=1), "", ""),  # anybody may write such a one
        (by_hand({"alg": "none"}), "", ""),
    ],
)
def test_a_refusal_knows_whose_token_it_was_where_our_key_has_signed_it(
    token: str, subject: str, token_id: str
) -> None:
    with pytest.raises(tokens.TokenRefused) as refused:
        tokens.check(token, KEYS, cell="default")
    assert (refused.value.subject, refused.value.token_id) == (subject, token_id)
    assert token not in str(refused.value)


@pytest.mark.parametrize("name", sorted(tokens.CORE))
def test_no_token_of_a_core_service_can_open_windows(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} is a core service, and no token of one has power:write"):
        tokens.issue(KEY, subject=name, scopes=["power:read", "power:write"], ttl=60, cell="default")
    token = tokens.issue(KEY, subject=name, scopes=["power:read"], ttl=60, cell="default")
    assert tokens.check(token, KEYS, cell="default").scopes == {"power:read"}


def test_a_token_is_for_somebody() -> None:
    with pytest.raises(InputError, match="name whom"):
        tokens.issue(KEY, subject="", scopes=["power:read"], ttl=60, cell="default")


@given(st.data())
def test_no_single_character_of_a_token_can_be_changed(data: st.DataObject) -> None:
    token = signed(exp=4_000_000_000)
    place = data.draw(st.integers(min_value=0, max_value=len(token) - 2))  # the last one has bits that do not count
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
    letter = data.draw(st.sampled_from(letters.replace(token[place], "")))
    with pytest.raises(tokens.TokenRefused):
        tokens.check(token[:place] + letter + token[place + 1 :], KEYS, cell="default")


@pytest.mark.parametrize(
    "scopes", [[], ["power:everything"], ["power:read", "admin"], ["POWER:READ"], [""], ["svc:"], ["svc:a b"]]
)
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
        b"0" * 64 + b"\n" + b"1" * 63,
        b"\n".join([b"0" * 64] * 3),
    ],
)
def test_a_key_of_another_form_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(InputError, match="is not 64 hexadecimal characters"):
        tokens.read_key(path)


def test_a_rotation_keeps_the_key_before_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "key"
    tokens.new_key(path)
    found = [tokens.read_key(path)]
    for _ in range(2):
        named = tokens.rotate(path)
        keys = tokens.read_keys(path)
        assert keys == (tokens.read_key(path), found[-1])
        assert named == tokens.key_id(keys[0])
        found.append(keys[0])
    assert len(set(found)) == 3
    assert path.stat().st_mode & 0o777 == 0o600
    tokens.rotate(path, keep=False)
    (alone,) = tokens.read_keys(path)
    assert alone not in found
    assert [item.name for item in tmp_path.iterdir()] == ["key"]


def test_what_is_no_key_is_not_rotated(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(InputError, match="No such file"):
        tokens.rotate(path)
    with pytest.raises(InputError, match="the key cannot be replaced: No such file"):
        tokens.rotate(tmp_path / "gone" / "key")
    path.write_text("secret\n")
    path.chmod(0o600)
    with pytest.raises(InputError, match="is not 64 hexadecimal characters"):
        tokens.rotate(path)
    assert path.read_text() == "secret\n"


def test_a_missing_key_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No such file.*make one with: vx11 token new-key --key"):
        tokens.read_key(tmp_path / "key")
