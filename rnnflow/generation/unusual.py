"""What is allowed in a data set and yet is often a mistake."""

from collections import Counter, defaultdict
from collections.abc import Iterator


def remarks(lengths: Counter[int], classes: Counter[str], num_features: int) -> Iterator[str]:
    """Yield what a person should know, a line each.

    Args:
        lengths: how many sequences have how many steps.
        classes: how many sequences each class has.
        num_features: of a step.
    """
    if lengths[1]:
        yield f"{lengths[1]:,} of {lengths.total():,} sequences have one step only"
    if lengths and max(lengths) < num_features:
        yield (
            f"more features ({num_features:,}) than steps (at most {max(lengths):,}): are the columns steps "
            "(generate.files.layout: wide), or the axes in another order (generate.files.axes)?"
        )
    for names in _alike(classes):
        wanted = max(names, key=lambda name: (name == name.strip(), classes[name], name))
        pairs = ", ".join(f"{name!r}: {wanted!r}" for name in names if name != wanted)
        yield (
            f"classes {', '.join(map(repr, names))} differ only in case, blanks or number format; "
            f"generate.files.label_names: {{{pairs}}} makes them one"
        )


def _alike(classes: Counter[str]) -> Iterator[list[str]]:
    """Yield classes that are the same but for how they are written."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(classes):
        groups[_plain(name)].append(name)
    yield from (names for names in groups.values() if len(names) > 1)


def _plain(name: str) -> str:
    try:
        return repr(float(name.replace(",", ".")))
    except ValueError:
        return " ".join(name.replace("_", " ").replace("-", " ").casefold().split())
