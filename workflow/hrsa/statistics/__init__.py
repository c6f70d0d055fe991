"""Intervals, nulls and equivalence tests."""
