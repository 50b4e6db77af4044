"""`rnnflow tune`: tries models and their settings on all but the test split, and writes the best one down."""
