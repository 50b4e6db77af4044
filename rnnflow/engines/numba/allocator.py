"""Hands out places in one array of scratch."""


def rounded_up(size: int, multiple: int) -> int:
    """Return the next multiple that is not smaller."""
    return -(-size // multiple) * multiple


class Allocator:
    """Hands out one range of numbers after another."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, size: int) -> int:
        """Return where a range of so many numbers begins."""
        start = self.size
        self.size += size
        return start
