"""Options `--window` and `--stride`, in steps or seconds."""

import re
from typing import Any

from rnnflow.runtime.errors import InputError


def windows_of(length: str | None, stride: str | None) -> dict[str, Any] | None:
    """Return `generate.windows` for a length such as `100`, in steps, or `2.5s`; without a stride, windows overlap by half.

    Raises:
        InputError: one is no number, or they have unlike units.
    """
    if length is None:
        if stride is not None:
            raise InputError("--stride needs --window")
        return None
    number, unit = _measured("--window", length)
    half = number / 2 if unit == "seconds" else max(1, number // 2)
    step, step_unit = _measured("--stride", stride) if stride else (half, unit)
    if step_unit != unit:
        raise InputError(f"--window {length} --stride {stride}: both in steps, or both in seconds")
    return {"length": number, "stride": step} | ({"unit": unit} if unit == "seconds" else {})


def _measured(option: str, text: str) -> tuple[int | float, str]:
    matched = re.fullmatch(r"(\d+\.?\d*)(s?)", text)
    if matched is None:
        raise InputError(f"{option} {text}: expected time steps such as 100, or seconds such as 2.5s")
    number = float(matched.group(1))
    return int(number) if number.is_integer() else number, "seconds" if matched.group(2) else "steps"
