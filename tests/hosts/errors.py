"""What goes wrong with hosts."""

import docker.errors
import requests

FAILURES = (docker.errors.DockerException, requests.RequestException)  # what the SDK raises


class HostError(Exception):
    """A host could not be had, or a command on it failed; has its output."""
