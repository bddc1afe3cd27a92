"""`python -m vx11` is the same as the command `vx11`."""

from vx11.cli import main

main()
