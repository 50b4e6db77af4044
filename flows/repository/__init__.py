"""What a run works on: the clone, its stages and data as DVC sees them, and the branch that it publishes."""
