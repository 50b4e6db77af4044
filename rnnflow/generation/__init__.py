"""From files or a synthetic source to a data set."""
