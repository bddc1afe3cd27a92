"""The second enforcer: closes what is overdue when madre does not. A process of its own.

Needs nothing but the standard library, so that what breaks madre does not break it; of the package it imports what
keeps to that too (`clock`, `statefiles`, and of the engines `procfs`, `cgroups` and `bypass`). `windows.py` goes by the
state files, `orphans.py` by the marks of what has none.
"""
