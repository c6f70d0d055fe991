"""Corpora and benchmark data: seeded generators, files and hub datasets."""
