"""Clocks that are wrong, go back or change to summer time, and files from the future: `dvc repro` makes the same bytes."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults.clones import environment
from tests.faults.fuzz.trials import Tally
from tests.pipeline.conftest import Clone, small_project

LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
"""Debian's package `faketime`; without it the trials are left out that need it, and are not counted."""
FAR = 4_102_444_800
"""Seconds up to the year 2100."""


def _clock(when: str, **also: str) -> dict[str, str]:
    """Return the environment of a process whose clock begins at a time (`@…`) or is a period away from the right one."""
    return {"LD_PRELOAD": str(LIBRARY), "FAKETIME": when, "FAKETIME_DONT_FAKE_MONOTONIC": "1", **also}


def _touch(seconds: float) -> Callable[[Clone], None]:
    def touch(clone: Clone) -> None:
        for path in clone.folder.rglob("*"):
            if path.is_file() and ".git" not in path.parts and not path.is_symlink():
                os.utime(path, (seconds, seconds))

    return touch


@dataclass(frozen=True)
class Wrong:
    """What is wrong with the time.

    Attributes:
        first: in whose environment the first half of the stages runs.
        second: the same of the second half.
        before: what is done to the files first.
    """

    first: Mapping[str, str]
    second: Mapping[str, str]
    before: Callable[[Clone], object] = lambda _: None


SUMMER, WINTER = "@2026-03-29 01:59:58", "@2026-10-25 02:59:58"
BERLIN = {"TZ": "Europe/Berlin"}
KINDS: Mapping[str, Wrong] = {
    "a clock in 1999": Wrong(_clock("@1999-12-31 23:59:50"), _clock("@1999-12-31 23:59:50")),
    "a clock after 2038": Wrong(_clock("@2040-01-01 00:00:00"), _clock("@2040-01-01 00:00:00")),
    "a clock set back by a year between two stages": Wrong({}, _clock("-1y")),
    "summer time begins": Wrong(_clock(SUMMER, **BERLIN), _clock(SUMMER, **BERLIN)),
    "summer time ends": Wrong(_clock(WINTER, **BERLIN), _clock(WINTER, **BERLIN)),
    "another time zone for each half": Wrong({"TZ": "Pacific/Kiritimati"}, {"TZ": "America/Adak"}),
    "files from the future": Wrong({}, {}, _touch(FAR)),
    "files from before 1980": Wrong({}, {}, _touch(0)),
}


def trials(folder: Path) -> Iterator[Tally]:
    """Run the pipeline once in peace and once for each kind, each computing every stage."""
    folder.mkdir()
    origin = small_project(folder / "origin", ("gru",))
    expected = _lock_after(origin.copy(folder / "peace"), Wrong({}, {}))
    for index, (what, wrong) in enumerate(KINDS.items()):
        if "LD_PRELOAD" in {**wrong.first, **wrong.second} and not LIBRARY.exists():
            continue
        lock = _lock_after(origin.copy(folder / str(index)), wrong)
        yield Tally(what, 1, losses=[] if lock == expected else [(index, lock if "\n" not in lock else "another lock")])
        shutil.rmtree(folder / str(index))


def _lock_after(clone: Clone, wrong: Wrong) -> str:
    wrong.before(clone)
    for variables, target in ((wrong.first, ["train"]), (wrong.second, [])):
        done = subprocess.run(
            ["dvc", "repro", "--quiet", *target],
            cwd=clone.folder,
            env=environment(clone, variables),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return (done.stderr or done.stdout).splitlines()[-1]
    return clone.read("dvc.lock")
