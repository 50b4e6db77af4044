"""The data set on disk (Parquet) and in memory."""
