"""The core of an installed host: what it consists of, its units, and whether it keeps to its rules."""
