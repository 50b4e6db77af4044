#!/bin/sh
# DVC runs stages with $SHELL. With this one it can restore a stage from the run cache, and cannot run it.
echo "error: its result is not in the run cache of DVC's remote (an output with cache: false never is)" >&2
exit 2
