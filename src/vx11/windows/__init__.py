"""The heart: windows, their state machine, their deadlines, and SOLO_MADRE.

Knows no HTTP and no Docker: engine, clock, store and evidence are passed in. Imports engines (the port), catalogue,
evidence and the package's leaves.
"""
