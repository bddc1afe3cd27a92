"""The hash-chained record of a run, or of madre, and where it lies. Imports the package's leaves alone."""
