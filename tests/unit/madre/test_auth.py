"""Keys and revocations are what they are on disk now; while one is broken no token is taken."""

from pathlib import Path

import pytest

from vx11 import revocations, tokens
from vx11.errors import InputError
from vx11.madre.auth import Authority
from vx11.tokens import TokenRefused


class Host:
    """A key file, who judges by it, and every key that was told of."""

    def __init__(self, folder: Path) -> None:
        self.key = folder / "key"
        tokens.new_key(self.key)
        self.told: list[str] = []
        self.authority = Authority(self.key, cell="default", require_aud_jti=True, learn=self.told.extend)

    def token(self, subject: str = "anna") -> str:
        return tokens.issue(tokens.read_key(self.key), subject=subject, scopes=["power:read"], ttl=60, cell="default")

    def takes(self, token: str) -> bool:
        try:
            return bool(self.authority.check(token))
        except TokenRefused:
            return False


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_rotation_counts_at_once_and_the_former_key_for_one_more(host: Host) -> None:
    found = []
    for _ in range(3):
        found.append(host.token())
        assert host.takes(found[-1])
        tokens.rotate(host.key)
    assert list(map(host.takes, found)) == [False, False, True]
    tokens.rotate(host.key, keep=False)
    assert not any(map(host.takes, found))
    assert host.takes(host.token())


def test_a_revocation_counts_at_once_and_for_one_token_alone(host: Host) -> None:
    one, other = host.token(), host.token()
    bearer = host.authority.check(one)
    revocations.revoke(host.key, bearer.token_id, bearer.expires)
    assert not host.takes(one)
    assert host.takes(other)


def test_every_key_is_told_so_that_none_is_written_down(host: Host) -> None:
    former = tokens.read_key(host.key)
    tokens.rotate(host.key)
    host.takes(host.token())
    assert {former.hex(), tokens.read_key(host.key).hex()} <= set(host.told)


@pytest.mark.parametrize("which", ["key", "key.revoked"])
def test_while_a_file_is_broken_no_token_is_taken(host: Host, which: str) -> None:
    token, path = host.token(), host.key.with_name(which)
    revocations.revoke(host.key, "another", None)
    before = path.read_text(encoding="utf-8")
    path.write_text("broken", encoding="utf-8")
    for _ in range(2):  # the second time the file has been looked at already
        with pytest.raises(TokenRefused, match=rf"no token is taken until this is mended: .*{which}: "):
            host.authority.check(token)
    path.write_text(before, encoding="utf-8")
    assert host.takes(token)


def test_a_key_that_others_may_read_from_now_on_is_refused(host: Host) -> None:
    token = host.token()
    tokens.rotate(host.key)
    host.key.chmod(0o644)
    with pytest.raises(TokenRefused, match="can be read by others"):
        host.authority.check(token)


@pytest.mark.parametrize("which", ["key", "key.revoked"])
def test_a_file_that_is_wrong_at_the_start_is_told_at_once(host: Host, which: str) -> None:
    host.key.with_name(which).write_text("broken", encoding="utf-8")
    with pytest.raises(InputError, match=which):
        Authority(host.key, cell="default", require_aud_jti=True)


def test_what_is_wrong_is_known_before_any_token_comes(host: Host) -> None:
    assert host.authority.problems() == {}
    revocations.path_of(host.key).write_text("broken", encoding="utf-8")
    assert list(host.authority.problems()) == ["key"]
