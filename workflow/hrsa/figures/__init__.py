"""One module per figure family, in one shared style."""
