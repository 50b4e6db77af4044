"""Answers for files as people have them: where the readers of `generation` meet the predictor of `serving`.

A folder of its own, so that neither knows the other: no change of a reader makes stage export stale.
"""
