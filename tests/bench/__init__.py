"""Benchmarks of a real madre and watchdog: `python -m tests.bench`, or `nox -s bench`.

One file a measurement, each with `measure(engine, quick)`, which answers rows. They share `figures` (rows, percentiles,
goals), `cells` (a cell with a generated catalogue) and `report` (table, JSON, the machine). They speak to madre as any
client does and import nothing of `vx11.madre` or `vx11.windows`. Speed is measured here, not asserted.
"""
