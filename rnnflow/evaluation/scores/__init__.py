"""What the scores of a classifier are: metrics, intervals, calibration, slices."""
