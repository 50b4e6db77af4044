"""The multi-scale stem: convolutions as matrix products, batch norm over valid steps, block means; forward and backward."""
