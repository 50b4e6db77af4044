"""Whether one classifier is better than another, and than simple baselines."""
