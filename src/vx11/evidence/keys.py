"""Keys of seals: Ed25519, the private half in a PEM file of its owner, the public half beside it (`.pub`)."""

import base64
import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from vx11.errors import InputError

# In an evidence folder: the public half of the key that its seals are made with.
PUBLIC = "evidence.pub"
VARIABLE = "VX11_EVIDENCE_KEY"
_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


def default_path() -> Path:
    """Where the private key of this machine, or of this user, lies; `VX11_EVIDENCE_KEY` names another place."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    if os.geteuid() == 0:
        return Path("/etc/vx11/evidence.key")
    return Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config")) / "vx11" / "evidence.key"


class PublicKey:
    """Checks seals.

    Attributes:
        id: 16 hexadecimal characters of the sha256 of the key.
    """

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.id = hashlib.sha256(raw).hexdigest()[:16]

    def signed(self, statement: Mapping[str, Any], signature: str) -> bool:
        """Whether a signature is of this statement, by this key; of one without canonical form there is none."""
        try:
            message = rfc8785.dumps(dict(statement))
        except ValueError:
            return False
        return self.signed_bytes(message, signature)

    def signed_bytes(self, message: bytes, signature: str) -> bool:
        """Whether a signature is of these bytes, by this key."""
        try:
            self._key.verify(base64.b64decode(signature, validate=True), message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def to_pem(self) -> bytes:
        """As files have it."""
        return self._key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )


class Signer:
    """Makes seals."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())

    def sign(self, statement: Mapping[str, Any]) -> str:
        """The signature, in base64, of the canonical form of a statement."""
        return self.sign_bytes(rfc8785.dumps(dict(statement)))

    def sign_bytes(self, message: bytes) -> str:
        """The signature of these bytes, in base64."""
        return base64.b64encode(self._key.sign(message)).decode("ascii")

    @classmethod
    def of(cls, path: Path | None = None) -> "Signer":
        """The key in a file, which is made if there is none.

        Args:
            path: the file; the default one without.

        Raises:
            InputError: it can be neither read nor made, is no such key, or others can read it.
        """
        path = path or default_path()
        try:
            with contextlib.suppress(FileExistsError):
                _make(path)
            mode, content = path.stat().st_mode, path.read_bytes()
        except OSError as error:
            why = f"the key for seals can be neither read nor made: {error.strerror}; name another: {VARIABLE}"
            raise InputError.of(why, path) from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            why = f"the key for seals can be read by others (mode {stat.S_IMODE(mode):04o}); run: chmod 600 {path}"
            raise InputError.of(why, path)
        try:
            key = serialization.load_pem_private_key(content, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise InputError.of("this is not a private key in PEM form", path) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise InputError.of("this is not an Ed25519 key", path)
        return cls(key)


def _make(path: Path) -> None:
    """Makes a key where there is none yet.

    Raises:
        FileExistsError: there is one.
    """
    if path.exists():
        raise FileExistsError
    key = Ed25519PrivateKey.generate()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    # It appears whole, also where two make one at the same time: the second finds the first one's.
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )
        os.link(partial, path)
    finally:
        partial.unlink()
    path.with_name(f"{path.stem}.pub").write_bytes(PublicKey(key.public_key()).to_pem())


class PublicKeys:
    """Keys by their ids."""

    def __init__(self, keys: Iterable[PublicKey] = ()) -> None:
        self._keys = {key.id: key for key in keys}

    @classmethod
    def read(cls, paths: Iterable[Path]) -> "PublicKeys":
        """The keys of PEM files; one may hold several.

        Raises:
            InputError: a file cannot be read, or has what is no Ed25519 public key.
        """
        return cls(key for path in paths for key in _read(path))

    def get(self, key_id: str) -> PublicKey | None:
        """The key of this id, if it is one of these."""
        return self._keys.get(key_id)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __str__(self) -> str:
        return ", ".join(sorted(self._keys))


def _read(path: Path) -> Iterator[PublicKey]:
    try:
        blocks = _PEM.findall(path.read_bytes())
    except OSError as error:
        raise InputError.of(f"the public key cannot be read: {error.strerror}", path) from error
    if not blocks:
        raise InputError.of("this is not a public key in PEM form", path)
    for block in blocks:
        try:
            key = serialization.load_pem_public_key(block)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise InputError.of("this is not a public key in PEM form", path) from error
        if not isinstance(key, Ed25519PublicKey):
            raise InputError.of("this is not an Ed25519 key", path)
        yield PublicKey(key)
