"""Ratios, never milliseconds: `python -m bench` (or `make bench`) holds the pages against budgets on both engines."""
