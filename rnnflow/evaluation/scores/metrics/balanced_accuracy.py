"""Balanced accuracy: the mean recall of the classes that are there; of a class, its recall."""

from rnnflow.evaluation.scores.weighting import mean_share_right

METRIC = mean_share_right(lambda answers: answers.labels)
