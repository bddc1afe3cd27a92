"""What may be opened: a Compose file read into services, and the allowlist of their digests.

Pure but for reading files. Imports nothing of the package but its leaves (errors, units, yamlfile).
"""
