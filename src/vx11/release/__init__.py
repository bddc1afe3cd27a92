"""Closes a release: the baseline that it starts from, the eight gates, and the deliverables, from what was measured.

Looks as an operator does: over the API, at the files and the sockets of a host. Imports the client, evidence, network
namespaces, how Markdown is escaped, and the package's leaves; nothing but the command line imports it.
"""
