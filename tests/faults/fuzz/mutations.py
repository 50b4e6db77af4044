"""Damage, drawn by a seed: of bytes wherever they are, of text word by word, of JSON value by value."""

import copy
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

DEEP: Any = 0
for _ in range(300):
    DEEP = [DEEP]
VALUES: Sequence[Any] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", "x", "null", "a\nb", "\x1b[2J", "\x00", "\udcff", "é\u202e", "x" * 70_000, "../../etc/passwd", "=1+1"),
    *([], {}, [None], [[]], [1, "x"], {"": 0}, {"version": 10**9}, DEEP),
)
WORDS = (
    *(
        b"",
        b"\x00",
        b"\xff\xfe",
        b"\n",
        b"\r",
        b"\t",
        b'"',
        b"'",
        b",",
        b";",
        b":",
        b"=",
        b"[",
        b"{",
        b"}",
        b"-",
        b"\xef\xbb\xbf",
    ),
    *(
        b"nan",
        b"inf",
        b"-1",
        b"1e999",
        b"9" * 400,
        b"10:99",
        b"2026-13-45",
        b"\x1b[2J",
        b"\xc2\xb2",
        b"&a *a",
        b"<<: *a",
        b"!!",
    ),
    *(b"[" * 3000, b"{" * 3000, b"x" * 70_000, b"*" * 50, b"%" * 50, b"\xf0\x9f\x92\xa9"),
)


def damaged(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Return `content` after one to four damages; `others` are spliced in."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        content = rng.choice(_DAMAGES)(content, others, rng)
    return content


def _place(content: bytes, rng: random.Random) -> int:
    """A place anywhere, but more often at the ends, where headers and footers are."""
    size = len(content)
    return rng.choice(
        (rng.randrange(size + 1), rng.randrange(min(size, 64) + 1), size - rng.randrange(min(size, 64) + 1))
    )


def _flip(content: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    changed = bytearray(content)
    for __ in range(rng.choice((1, 1, 8)) if content else 0):
        changed[min(_place(content, rng), len(content) - 1)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _set(content: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    place = _place(content, rng)
    number = rng.choice((b"\0", b"\xff", b"\xff\xff\xff\x7f", b"\0" * 4, b"\xff" * 8, rng.randbytes(4)))
    return content[:place] + number + content[place + len(number) :]


def _cut(content: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    return content[: _place(content, rng)]


def _remove(content: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    first, last = sorted((_place(content, rng), _place(content, rng)))
    return content[:first] + content[min(last, first + rng.choice((1, 4, 100, len(content)))) :]


def _repeat(content: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    first, last = sorted((_place(content, rng), _place(content, rng)))
    return (
        content[:last] + content[first:last] * rng.choice((1, 1, 20)) + content[last:]
        if last - first < 5000
        else content
    )


def _splice(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    other = rng.choice(others)
    return content[: _place(content, rng)] + other[_place(other, rng) :]


def _insert(content: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    place = _place(content, rng)
    return content[:place] + rng.choice(WORDS) + content[place:]


def _replace_line(content: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    lines = content.split(b"\n")
    index = rng.randrange(len(lines))
    name, sign, __ = lines[index].partition(rng.choice((b":", b",", b"=")))
    lines[index] = name + sign + b" " + rng.choice(WORDS)
    return b"\n".join(lines)


_DAMAGES = (_flip, _set, _cut, _remove, _repeat, _splice, _insert, _replace_line)


def altered(content: Any, rng: random.Random) -> Any:
    """Return JSON after one to three of its values were replaced, removed or added."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        content = _alter(content, rng)
    return content


def _alter(content: Any, rng: random.Random) -> Any:
    if not isinstance(content, dict | list) or not content or rng.random() < 0.1:
        return copy.deepcopy(rng.choice(VALUES))
    key = rng.choice(list(content)) if isinstance(content, dict) else rng.randrange(len(content))
    how = rng.random()
    if how < 0.15:
        del content[key]
    elif how < 0.25 and isinstance(content, dict):
        content[rng.choice(("", "x", "a\nb", key))] = content.pop(key)
    elif how < 0.5:
        content[key] = copy.deepcopy(rng.choice(VALUES))
    else:
        content[key] = _alter(content[key], rng)
    return content


def reshaped(array: np.ndarray, rng: random.Random) -> np.ndarray:
    """Return an array of another type, shape or content."""
    return rng.choice(
        (
            array.astype(rng.choice((np.float64, np.float16, np.int64, np.bool_))),
            array[None],
            array.ravel()[:-1],
            np.concatenate([array.ravel(), array.ravel()]),
            np.zeros((), array.dtype),
            np.full(array.shape, rng.choice((np.nan, np.inf, 1e38)), np.float32),
        )
    )
