"""Ratios against peers on the same bytes, in one run: `python -m benchmarks`. Read docs/performance.md before a figure.

Not tests: nothing here passes or fails by its speed.
"""
