"""MTEB-style tasks and their scores."""
