"""`python -m rnnflow.cli`: the command `rnnflow`, with the interpreter of one's choice."""

from rnnflow.cli import main

main()
