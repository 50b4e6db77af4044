"""Answers for files as people have them: where the readers of `generation` meet the predictor.

Neither knows the other, so that no change of a reader makes stage export stale.
"""
