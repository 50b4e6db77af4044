"""What to set for data that nobody has seen before: `inspect` reads the files, `tune` tries models."""
