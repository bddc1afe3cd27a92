"""Explains a case that failed: signs, what may have been the cause, and a patch intent that a human decides on.

Pure but for reading the bundle and writing the intent's folder. Imports evidence and the package's leaves alone.
Nothing here, or elsewhere, applies an intent.
"""
