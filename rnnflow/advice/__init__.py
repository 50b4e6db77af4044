"""Settings for a new data set: `inspect` reads its files, `tune` tries models on it."""
