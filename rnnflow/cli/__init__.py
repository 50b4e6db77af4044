"""Look at data, check params and use models, outside the stages."""

import os
import sys
from collections.abc import Sequence

from rnnflow.cli.arguments import parser
from rnnflow.runtime import garbage
from rnnflow.runtime.errors import InputError, exit_on_input_error


def main(argv: Sequence[str] | None = None) -> None:
    garbage.collect_seldom()
    is_closed = sys.stdout is None
    with exit_on_input_error():
        if is_closed:
            raise InputError("standard output is closed, where the answer would be; send it to a file, or to /dev/null")
        arguments = parser(__doc__).parse_args(argv)
        try:
            arguments.run(arguments)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
