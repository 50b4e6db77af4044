"""Which of a few models suits the data, by cross-validation; stage train asks it where `train.recipe` is `auto`."""
