"""Whatever a file is like, it is read as it is or refused with a line: never other values in silence."""

import io
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnnflow.advice.inspection import examine
from rnnflow.advice.inspection.advice import remarks
from rnnflow.advice.inspection.guess import UserHints
from rnnflow.advice.inspection.locations import locate
from rnnflow.cli import main
from rnnflow.generation.sources.files import find
from rnnflow.runtime.errors import InputError
from tests import random_files
from tests.awkward_files import Known
from tests.inspecting import generated, section

SETTINGS: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
TABLES = {
    "steps": random_files.write_steps,
    "wide": random_files.write_wide,
    "cells": random_files.write_cells,
    "melted": random_files.write_melted,
    "JSON lines": random_files.write_json_lines,
    "parquet": random_files.write_parquet,
}


@st.composite
def files(draw: st.DrawFn, folder: Path) -> tuple[Known, str]:
    """Write a file into an empty folder; return what it holds, and how it is written."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    layout = draw(st.sampled_from(["steps", "steps", "wide", "arrays", "ts", *TABLES]))
    entries = draw(
        random_files.sequences(same_length=layout in ("wide", "arrays"), shortest=8 if layout == "wide" else 1)
    )
    path, dialect = folder / "a", draw(random_files.dialects())
    how = f"{layout} {dialect}"
    if layout == "arrays":
        # The same numbers of steps and features could be told apart by nobody.
        is_long = entries[0][1].shape[0] > entries[0][1].shape[1]
        axes = draw(st.sampled_from([(0, 1, 2), (1, 0, 2), (0, 2, 1)] if is_long else [(0, 1, 2)]))
        how = f"arrays {axes}"
        random_files.write_arrays(path, entries, axes)
    elif layout == "ts":
        entries = [(label.strip(), values) for label, values in entries]  # the format has no quotes
        random_files.write_ts(path, entries, draw(st.booleans()))
    else:
        TABLES[layout](path, entries, dialect)
    return entries, how


def by_command(raw: Path) -> tuple[dict[str, Any], str]:
    """Return the section that `rnnflow inspect` prints and all that it prints with it, or refuse as it does."""
    output, message, status = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(output), redirect_stderr(message):
        try:
            main(["inspect", str(raw)])
        except SystemExit as ending:
            status = int(ending.code or 0)
    if status:
        assert (status, message.getvalue().count("\n")) == (2, 1)
        raise InputError(message.getvalue())
    return section(output.getvalue()), output.getvalue()


def by_library(raw: Path) -> tuple[dict[str, Any], str]:
    """Return the same without printing it, which is half of the work."""
    location = locate([str(raw)])
    findings = examine(location, find(location.names, location.raw), UserHints())
    if findings.dry_run.problem:
        raise InputError(findings.dry_run.problem)
    return findings.settings, "\n".join(findings.guess.remarks + remarks(findings.dry_run))


def check(folder: Path, data: st.DataObject, inspect: Callable[[Path], tuple[dict[str, Any], str]]) -> None:
    """Write a file, inspect it, and hold against it what the section reads, unless it was refused."""
    raw = folder / "data" / "raw"
    entries, how = data.draw(files(raw))
    try:
        settings, said = inspect(raw)
    except InputError:
        return
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        found = generated(settings, raw, folder)
    if "generate.files.axes" not in said:  # or the remark says which order was taken
        assert contents(rows(found, entries[0][1].shape[1])) == contents(entries), f"{how}\n{settings}\n{said}"


def rows(splits: dict[str, list[dict[str, Any]]], num_features: int) -> Known:
    return [
        (row["label"], np.array(row["sequence"], np.float32).reshape(-1, num_features))
        for entries in splits.values()
        for row in entries
    ]


def contents(entries: Known) -> Counter[tuple[str, bytes]]:
    """Return sequences to count and compare, whatever the sign of a zero."""
    return Counter((label, (np.asarray(values, np.float32) + 0).tobytes()) for label, values in entries)


@settings(max_examples=40, **SETTINGS)
@given(data=st.data())
def test_a_random_file_is_read_as_it_is_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    check(tmp_path, data, by_command)


@pytest.mark.slow
@settings(max_examples=500, **SETTINGS)
@given(data=st.data())
def test_no_random_file_of_many_is_misread(tmp_path: Path, data: st.DataObject) -> None:
    check(tmp_path, data, by_library)
