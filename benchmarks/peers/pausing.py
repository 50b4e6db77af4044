"""Epochs, one at a time, out of a library that runs all of them in one call."""

from collections.abc import Callable
from threading import Semaphore, Thread


def one_at_a_time(fit: Callable[[Callable[[], None]], object]) -> Callable[[], None]:
    """Return a call that runs one epoch of `fit`.

    The set-up of a training is thus done once, in the first call, as for a person who trains for many epochs.

    Args:
        fit: trains without end in a thread of its own, and calls what it is given after each epoch.
    """
    may_go_on, has_paused = Semaphore(0), Semaphore(0)
    errors: list[Exception] = []

    def pause() -> None:
        has_paused.release()
        may_go_on.acquire()

    def run() -> None:
        may_go_on.acquire()
        try:
            fit(pause)
            errors.append(RuntimeError("the training has ended"))
        except Exception as error:  # it is raised again where it can be seen
            errors.append(error)
        has_paused.release()

    Thread(target=run, daemon=True).start()

    def epoch() -> None:
        may_go_on.release()
        has_paused.acquire()
        if errors:
            raise errors[0]

    return epoch
