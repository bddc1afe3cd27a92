"""Hosts for tests: containers of the machine's engine, with systemd, sshd and a Docker Engine of their own.

Imports the standard library, the Docker SDK and `vx11`; knows nothing of pytest.
"""
