"""The P0 tests, as users run them by hand too: a file for pytest, and calls of curl."""
