"""What all sections of `params.yaml` share: names are checked, values are strict, and an error is one line."""

import difflib
import math
import reprlib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, Event

from rnnflow.runtime.errors import InputError, library

MAX_VALUES, MAX_DEPTH = 100_000, 50
"""Of a file of settings. Aliases of aliases can stand for billions of values in a few lines."""

Count = Annotated[int, Field(ge=1, lt=2**31)]
Size = Annotated[int, Field(ge=1, le=2**16)]
"""Of a part of a model, or of a batch."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Share = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]


S = TypeVar("S", bound="Section")
V = TypeVar("V")


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _know_every_name(cls, content: object) -> object:
        known = list(cls.model_fields)
        for name in content if isinstance(content, dict) else ():
            if name not in known:
                close = difflib.get_close_matches(str(name), known, n=1)
                advice = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(known)}"
                raise PydanticCustomError("unknown", "unknown parameter; {advice}", {"name": name, "advice": advice})
        return content


_EXPECTED = {
    "dict_type": "expected names with values",
    "model_type": "expected names with values",
    "string_pattern_mismatch": "expected a name of lower-case letters, digits, '-' and '_' that begins with a letter or digit, at most 100",
    "too_short": "expected at least one entry",
}


def read(path: Path) -> object:
    """Return the content of a YAML file.

    Raises:
        InputError: the file is missing or is not YAML.
    """
    try:
        if path.exists() and not (
            path.is_file() or path.is_dir()
        ):  # a pipe would hold the run for ever, and a device has no end
            raise InputError(f"{path}: not a file, expected a YAML file")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {str(error.strerror).lower()}, expected a YAML file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text, {error.reason} at byte {error.start}") from None
    return parse(text, str(path))


def parse(text: str, place: str) -> Any:
    """Return what YAML says; `place` begins the message of an error.

    Raises:
        InputError: it is none, nested too deeply, or its aliases multiply to more than params could hold.
    """
    yaml = YAML(typ="safe")
    try:
        with library(f"{place}: not valid YAML", MarkedYAMLError):
            _check_bounds(yaml.parse(text), place)
            return yaml.load(text)
    except MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}:" if error.problem_mark else ""
        raise InputError(f"{place}:{line} not valid YAML: {error.problem}") from None


def _check_bounds(events: Iterable[Event], place: str) -> None:
    """Refuse what would exhaust the parser: its stack by depth, its time and memory by aliases of aliases.

    Args:
        events: what the parser meets in the text, one after another.
        place: begins the message of an error.

    Raises:
        InputError: it is nested too deeply, or too much once its aliases are written out.
    """
    sizes: dict[str, float] = {}  # of what has an anchor, with its aliases written out
    within: list[tuple[str | None, float]] = []  # what is open, with its size before it began
    size = 0.0
    for event in events:
        if isinstance(event, CollectionStartEvent):
            within.append((event.anchor, size))
            if event.anchor:
                sizes[event.anchor] = math.inf  # while it is open: it would hold itself
        elif isinstance(event, CollectionEndEvent):
            anchor, before = within.pop()
            if anchor:
                sizes[anchor] = size - before
        elif isinstance(event, AliasEvent):
            size += sizes.get(event.anchor, 0)  # one that nobody knows is refused by the parser
        size += 1
        if len(within) > MAX_DEPTH:
            raise InputError(f"{place}: nested too deeply")
        if size > MAX_VALUES:
            raise InputError(f"{place}: more than {MAX_VALUES:,} values, or aliases that multiply to so many")


def load(path: Path, kind: type[S], *names: str) -> S:
    """Return one section of `params.yaml`, checked; the rest of the file is ignored.

    Args:
        path: the file.
        kind: the section's type.
        names: the section's name, and behind it that of an entry.

    Raises:
        InputError: the file cannot be read, the section is missing, or a value is not allowed.
    """
    content = read(path)
    for depth, name in enumerate(names):
        within = "".join(f"{outer}: " for outer in names[:depth])
        if not isinstance(content, dict):
            raise InputError(f"{path}: {within}expected names with values, got {reprlib.repr(content)}")
        if name not in content:
            raise InputError(f"{path}: {within}no entry {name!r}, there are {', '.join(map(str, content))}")
        content = content[name]
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}: {in_one_line(error, names)}") from None


def checked(kind: type[V], content: object, place: str) -> V:
    """Return what a file says of itself, in the type that this program expects.

    Args:
        kind: the type.
        content: what was read.
        place: begins the message of an error.

    Raises:
        InputError: it is of another shape.
    """
    try:
        return _adapter(cast(Any, kind)).validate_python(content)
    except ValidationError as error:
        raise InputError(f"{place}: {in_one_line(error)}") from None


@cache
def _adapter(kind: Any) -> Any:
    return TypeAdapter(kind)


def in_one_line(error: ValidationError, within: Sequence[str] = ()) -> str:
    """Return the first problem of a refused section: the entry, what was expected, what came; and how many follow.

    Args:
        error: what pydantic raised.
        within: names of the sections around the refused one.
    """
    problems = error.errors(include_url=False)
    first = problems[0]
    location = [*within, *(str(part) for part in first["loc"] if not str(part).startswith("["))]
    message = first["msg"][0].lower() + first["msg"][1:]
    if first["type"] == "unknown":
        location.append(str(first["ctx"]["name"]))
    elif first["type"] == "value_error":
        message = str(first["ctx"]["error"])
    elif first["type"] == "missing":
        message = "missing"
    else:
        message = f"{_EXPECTED.get(first['type'], message)}, got {reprlib.repr(first['input'])}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return ": ".join(filter(None, [".".join(location), message])) + more
