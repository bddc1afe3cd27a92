"""VX11 power: hosts that run only their core, and services that open as windows.

This file imports nothing, so that `python -I -m vx11.watchdog` stays within the standard library.
"""

__version__ = "0.1.0"
