"""Versioned retraining of recurrent sequence classifiers: the library that stages and flows share."""
