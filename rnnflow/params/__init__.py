"""`params.yaml`, typed: a file for each section."""
