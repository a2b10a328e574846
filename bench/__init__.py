"""Benchmarks: `python -m bench` (or `make bench`) compares the time of pages, as ratios, with budgets on both engines."""
