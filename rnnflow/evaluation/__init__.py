"""How good a classifier is: its scores, the comparison with another, the report for people."""
