"""HRSA: hierarchical representation similarity analysis of language and embedding models."""
