"""How times are written, in the directives of Python's `strptime` as far as they say a date and a time."""

import re

DIRECTIVES = {
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "b": r"[A-Za-z]{3}",
    "f": r"\d{1,9}",
    "p": r"[AaPp][Mm]",
    "z": r"[Zz]|[+-]\d\d:?\d\d",
    **dict.fromkeys("mdHIMS", r"\d{1,2}"),
}


def pattern(time_format: str) -> str:
    """Return the regular expression of a format.

    Raises:
        ValueError: it has a directive that is not known, or says half a date.
    """
    pieces = re.split(r"%(.)", time_format)
    names = pieces[1::2]
    if unknown := [name for name in names if name not in DIRECTIVES]:
        raise ValueError(f"%{unknown[0]} is not known, expected %{' %'.join(DIRECTIVES)}")
    if len(set(names)) < len(names) or ("I" in names) != ("p" in names) or ("I" in names and "H" in names):
        raise ValueError("a part of the time is named twice, or %I without %p")
    has_date = {"Y", "y"} & set(names) and {"m", "b"} & set(names) and "d" in names
    if not has_date and ("M" not in names or set(names) & set("Yymbd")):
        raise ValueError("expected a year, a month and a day, as in %d.%m.%Y %H:%M:%S, or none of them as in %H:%M:%S")
    groups = [f"(?P<{name}>{DIRECTIVES[name]})" for name in names]
    texts = [re.escape(piece) for piece in pieces[::2]]
    return "".join(text + group for text, group in zip(texts, [*groups, ""], strict=True))
