"""`rnnflow inspect`: what files would become, what is wrong with them, and the params that describe them."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from rnnflow.advice.inspection import advice, report
from rnnflow.advice.inspection.dry_run import DryRun, dry_run
from rnnflow.advice.inspection.folders import parts_of_paths
from rnnflow.advice.inspection.guess import DEFAULTS, Guess, UserHints
from rnnflow.advice.inspection.guessing import guess
from rnnflow.advice.inspection.label_tables import find_label_table
from rnnflow.advice.inspection.locations import Location, locate
from rnnflow.advice.inspection.sample import Sample, read_sample
from rnnflow.advice.model_selection import portfolio
from rnnflow.advice.tuning import params_file
from rnnflow.generation import drift
from rnnflow.generation.sources import label_table
from rnnflow.generation.sources.arrays import LENGTHS
from rnnflow.generation.sources.files import FORMATS, find, find_all, format_of, is_for_people
from rnnflow.generation.sources.layout import PARTS
from rnnflow.params.generate import DriftParams, GenerateParams
from rnnflow.params.section import in_one_line
from rnnflow.runtime.errors import InputError
from rnnflow.runtime.folders import files_below

MAX_CHANGES = 4
_LENGTHS = re.compile(r"len|steps", re.IGNORECASE)


@dataclass(frozen=True)
class Findings:
    """All that an inspection found."""

    kind: str
    guess: Guess
    dry_run: DryRun
    settings: dict[str, Any]
    """Section `generate` without what has its default."""


def inspect(
    console: Console,
    paths: Sequence[str],
    hints: UserHints,
    windows: dict[str, Any] | None = None,
    reference: Path | None = None,
    params: Path | None = None,
) -> None:
    """Print what the files, folders and globs at `paths` would become, compared with a profile if there is one to refer to.

    Where `params` names a params.yaml, the section is written into it, with a model and a recipe for such data.

    Raises:
        InputError: stage generate would refuse the files; what could be found out is printed before.
    """
    known = drift.load_reference(reference) if reference else {}
    location = locate(paths)
    every = find_all(location.names, location.raw)
    labels = find_label_table(every, location.raw) if "label" not in hints.columns else None
    files = find(location.names, location.raw, location.raw / labels["path"] if labels else None)
    kind = FORMATS[format_of(files[0])][0]
    console.print(f"{len(files):,} {kind} files, the first is {files[0]}" if len(files) > 1 else f"{files[0]}: {kind}")
    findings = examine(location, files, hints, windows, labels)
    found = findings.dry_run
    report.show(console, found, findings.kind, {**DEFAULTS, **findings.guess.columns})
    problems = [found.problem] if found.problem else []
    lines = findings.guess.remarks + _unread_files(location, files, findings) + advice.remarks(found)
    if known and found.profile is not None:
        lines += [f"unlike {reference}: {line}" for line in drift.differences(found.profile, known, DriftParams())]
    report.show_list(console, "Problems", problems)
    report.show_list(console, "Remarks", lines)
    _show_section(console, location, findings)
    if problems:
        raise InputError(problems[0])
    if params is not None:
        _write(console, params, location, findings)


def _write(console: Console, params: Path, location: Location, findings: Findings) -> None:
    profile = findings.dry_run.profile
    assert profile is not None
    if not location.is_raw:
        raise InputError(f"--write: the files must be below data/raw; move them there from {location.raw}")
    model = portfolio.candidates(advice.median(profile.lengths))[0]
    splits = findings.dry_run.splits
    recipe = portfolio.recipe(splits["train"].total() + splits["validation"].total())
    params_file.write(params, model, recipe, findings.settings)
    console.print()
    console.print(
        f"{params}: section generate is as above, models and train are a start for such data: {model.name}; "
        "after `dvc repro generate`, `rnnflow tune` looks for a better one",
        soft_wrap=True,
    )


def examine(
    location: Location,
    files: Sequence[Path],
    hints: UserHints,
    windows: dict[str, Any] | None = None,
    labels: dict[str, str] | None = None,
) -> Findings:
    """Return what is in the files, with params changed until stage generate takes them, or nothing more helps.

    `windows` and `labels` are as in the params; the table of labels is none of the files.

    Raises:
        InputError: the first file cannot be read, or the hints are none that params allow.
    """
    # What is tested on may come without labels.
    shown = next((path for path in files if "train" in path.name.lower()), files[0])
    sample = read_sample(shown, hints.delimiter, hints.decimal)
    if labels:
        known = {"id": labels["key"]} if labels["key"] in sample.table.column_names else {}
        hints = replace(hints, columns={"label": DEFAULTS["label"]} | known | dict(hints.columns))
    of_paths = parts_of_paths([path.relative_to(location.raw) for path in files])
    guessed = guess(sample, of_paths, len(files), hints)
    guessed.remarks += sample.remarks + _unread_arrays(sample, guessed)
    if labels:
        classes = label_table.rows(location.raw / labels["path"])[labels["label"]].to_pylist()
        guessed.trim_labels = all(name.startswith(" ") for name in classes)
    described = (
        {"paths": list(location.names)} | guessed.settings() | sample.settings | ({"labels": labels} if labels else {})
    )
    files_params = _checked({"source": "files", "files": described}).files.model_dump(exclude_defaults=True)
    settings: dict[str, Any] = {"source": "files"} | ({"files": files_params} if files_params else {})
    if windows:
        settings["windows"] = windows
    found = dry_run(files, location.raw, _checked(settings))
    for _ in range(MAX_CHANGES):
        changes = advice.change(found)
        if changes is None:
            break
        settings |= changes
        found = dry_run(files, location.raw, _checked(settings))
    return Findings(sample.kind, guessed, found, settings)


def _unread_arrays(sample: Sample, guessed: Guess) -> list[str]:
    read = {LENGTHS, *(DEFAULTS[part] for part in (*PARTS, "sequence")), *guessed.columns.values()}
    lines = {
        name: f"array {name!r} of {shape} is not read" for name, shape in sample.shapes.items() if name not in read
    }
    advice = f"; if it says where the padding of each sequence begins, call it {LENGTHS!r}"
    return [line + (advice if _LENGTHS.search(name) else "") for name, line in lines.items()]


def _unread_files(location: Location, files: Sequence[Path], findings: Findings) -> list[str]:
    """Return a remark on files that a person named with their folder and no reader takes, or a table names without need."""
    folders = [location.raw / name for name in location.names if (location.raw / name).is_dir()]
    others = {path for folder in folders for path in files_below(folder) if path.is_file()} - set(files)
    params, lines = findings.dry_run.params.files, []
    if params.labels:
        others.discard(location.raw / params.labels.path)
        lines = (
            label_table.read(location.raw / params.labels.path, params).remarks() if findings.dry_run.is_read else []
        )
    beside = {path.parent for path in files if path.suffix == ".npy"}
    others = {path for path in others if path.suffix != ".npy" or path.parent not in beside}
    endings = Counter(path.suffix or path.name for path in others if not is_for_people(path.relative_to(location.raw)))
    counted = ", ".join(f"{count:,} {ending}" for ending, count in sorted(endings.items()))
    return lines + ([f"files that nothing reads: {counted}"] if counted else [])


def _checked(settings: dict[str, Any]) -> GenerateParams:
    try:
        return GenerateParams.model_validate(settings)
    except ValidationError as error:
        raise InputError(in_one_line(error, within=["generate"])) from None


def _show_section(console: Console, location: Location, findings: Findings) -> None:
    found = findings.dry_run
    is_offered = "time" in found.parts and "group" not in found.parts and "split" not in findings.settings
    console.print("For params.yaml:" if found.problem is None else "For params.yaml, once the problem is solved:")
    console.print()
    if not location.is_raw:
        how = f"move them from {location.raw.absolute()} or `dvc add` them there"
        console.print(f"# The files must be below data/raw, under the same names: {how}.", soft_wrap=True)
    text = report.section(findings.settings, advice.times_to_cut(found) if is_offered else None)
    console.print(text, soft_wrap=True, highlight=False)
