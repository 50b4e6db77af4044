"""What a run came to, for people: a page in one file, and a model card."""
