"""Macro precision: of the sequences that are given a class, the share that is of it; the mean over the classes."""

from rnnflow.evaluation.scores.weighting import mean_share_right

METRIC = mean_share_right(lambda answers: answers.predictions)
