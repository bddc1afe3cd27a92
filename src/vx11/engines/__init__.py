"""What runs services: the port (`port.py`) and one adapter a file.

Imports the catalogue and the package's leaves; nothing of windows, madre or the conductor. `procfs.py`, `cgroups.py`
and `bypass.py` keep to the standard library, since the watchdog uses them too.
"""
