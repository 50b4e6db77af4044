"""Numbers in variables of the environment; needs nothing but Python."""

import os
import re

from rnnflow.runtime.errors import InputError


def number(variable: str, default: int, expected: str, least: int = 0) -> int:
    """Return what a variable of the environment says, or `default` where there is none.

    Args:
        variable: its name.
        default: without it.
        expected: describes it in the message of an error.
        least: the smallest number that it may say.

    Raises:
        InputError: it is no number, or one out of all bounds.
    """
    text = os.environ.get(variable, str(default))
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < least:
        raise InputError(f"environment variable {variable}: expected {expected}, got {text!r}")
    return int(text)
