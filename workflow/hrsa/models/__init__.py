"""Loading models, and one module per training recipe."""
