"""Explains a case that failed: evidence points, hypotheses, and a patch intent that a human decides on.

Pure but for writing the intent. Imports evidence and the package's leaves alone. Nothing here, or elsewhere, applies an
intent.
"""
