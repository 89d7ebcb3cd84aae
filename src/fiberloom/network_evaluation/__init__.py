"""Whole networks on accelerators: every layer mapped, the rest counted, totals and comparisons."""
