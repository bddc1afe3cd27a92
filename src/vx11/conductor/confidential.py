"""The secrets of a bundle: what its services get in their environment under names of secrets.

Nobody but the run itself knows them, so that after its conductor died they are learned again from the bundle. Whether
they are the ones that the run knew is told by a mark in its first record. From that nobody can guess a secret: it is
the digest of a signature, and takes the private key of the seals to make.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vx11.catalogue import compose
from vx11.catalogue.compose import Catalogue, Service
from vx11.conductor.matrix import CATALOGUE
from vx11.errors import InputError
from vx11.evidence.keys import Signer
from vx11.evidence.redact import is_name_of_secret

# In the data of `run_started`.
MARK = "secrets"


def values(catalogue: Catalogue) -> list[str]:
    """The secrets of all services, sorted.

    Raises:
        InputError: an `env_file` cannot be read.
    """
    return sorted({value for service in catalogue.services.values() for value in _of(service)})


def _of(service: Service) -> list[str]:
    try:
        environment = service.environment()
    except (OSError, ValueError) as error:
        raise InputError.of(f"{service.name}: its env_file cannot be read: {error}", service.base) from error
    return [value for name, value in environment.items() if value and is_name_of_secret(name)]


def mark(known: Sequence[str], signer: Signer) -> str:
    """What tells whether secrets are the same, and nothing of them to who has not the key."""
    signature = signer.sign_bytes(b"vx11-secrets " + json.dumps(known).encode())
    return hashlib.sha256(signature.encode()).hexdigest()


def of_run(started: Mapping[str, Any], signer: Signer) -> tuple[list[str], str]:
    """The secrets that a run knew, as far as its bundle still tells.

    Args:
        started: the data of its `run_started`.

    Returns:
        The secrets, and in words why the run may have known others; empty when they are the same.
    """
    path = Path(str(started.get("matrix"))).parent / CATALOGUE
    try:
        found = values(compose.load(path))
    except (InputError, OSError):
        return [], f"the values of secrets are not known: {path} is gone, or cannot be used any more"
    if mark(found, signer) != started.get(MARK):
        return found, f"the values of secrets may not be known: {path} does not say those that the run began with"
    return found, ""
