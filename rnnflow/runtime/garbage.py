"""When Python looks for garbage: seldom, in processes that load much and end soon."""

import atexit
import gc


def collect_seldom() -> None:
    """Look through new objects less often, and not at all when the process ends.

    To load PyTorch makes a million objects, none of them garbage. Looking for some meanwhile took a tenth of a stage's time, and
    at its end a tenth to a fifth.
    """
    gc.set_threshold(20_000)
    atexit.register(gc.freeze)  # what is frozen is passed over
