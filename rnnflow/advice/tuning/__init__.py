"""`rnnflow tune`: which of a few models suits the data, by cross-validation on all but the test split."""
