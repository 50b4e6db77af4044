"""`make faults`: damages inputs, flips bits, kills and ends runs; counts what was lost, and writes docs/reliability.md."""

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rnnflow.runtime.atomic_writes import atomic_write
from rnnflow.runtime.provenance import ROOT
from tests.faults import bad_inputs, clocks, endings, flips, kills, numbers, page, remotes, rot
from tests.faults.endurance import endured
from tests.faults.fuzz import targets
from tests.faults.fuzz.trials import Tally, Target, drawn, kept, trial

COUNTS = ROOT / ".rnnflow/faults.json"
"""What each part came to when it last ran: the parts can be run one by one, and the page has all of them."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(_PARTS)}; default: all")
    parser.add_argument("--inputs", type=int, default=100_000, help="damaged inputs of all readers together")
    parser.add_argument("--flips", type=int, default=1_500, help="flipped bits of all files together")
    parser.add_argument("--numbers", type=int, default=330, help="models of data and recipes that break arithmetic")
    parser.add_argument("--rot", type=int, default=12, help="bits flipped in the work tree and in DVC's cache")
    parser.add_argument("--remotes", type=int, default=40, help="pushes and pulls from remotes that fail")
    parser.add_argument("--kills", type=int, default=100, help="killed runs of dvc repro")
    parser.add_argument("--endings", type=int, default=60, help="ended runs of make run")
    parser.add_argument("--seed", type=int, default=0, help="decides all of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="killed and ended runs at once")
    parser.add_argument("--write", type=Path, help="the page, such as docs/reliability.md")
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.parts) - set(_PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    is_lost = False
    for part in arguments.parts or _PARTS:
        with tempfile.TemporaryDirectory(prefix="rnnflow-faults-") as name:
            is_lost |= _count(part, _PARTS[part](arguments, Path(name) / part))
    if arguments.write:
        arguments.write.write_text(page.text(_counted(), arguments.seed), encoding="utf-8")
    sys.exit(is_lost)


def _count(part: str, tallies: Iterator[Tally]) -> bool:
    """Add up and keep what comes of the trials of a part, say each loss, and return whether there is one."""
    counted: dict[str, Tally] = {}
    for tally in tallies:
        for number, what in tally.losses:
            print(f"{part}: {tally.target}: number {number}: {what}", flush=True)
        counted.setdefault(tally.target, Tally(tally.target)).add(tally)
        kept_counts = _counted() | {part: list(counted.values())}
        with atomic_write(COUNTS) as temporary:
            temporary.write_text(json.dumps({name: [*map(asdict, all_)] for name, all_ in kept_counts.items()}))
    for tally in counted.values():
        print(f"{part}: {tally.target}: {tally.tries:,} tries, {len(tally.losses)} lost", flush=True)
    return any(tally.losses for tally in counted.values())


def _counted() -> dict[str, Sequence[Tally]]:
    content = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
    return {part: [Tally(**tally) for tally in tallies] for part, tallies in content.items()}


def _inputs(arguments: argparse.Namespace, folder: Path) -> Iterator[Tally]:
    return _tried(targets.all_targets(folder), arguments.inputs, arguments.seed, folder)


def _flips(arguments: argparse.Namespace, folder: Path) -> Iterator[Tally]:
    return _tried(flips.all_targets(folder), arguments.flips, arguments.seed, folder.parent)


def _tried(readers: Sequence[Target], number: int, seed: int, folder: Path) -> Iterator[Tally]:
    """Share `number` tries among readers, and keep each input that was lost, for `tests/faults/fuzz/test_fuzz.py`."""
    shares = sum(target.share for target in readers)
    for target in readers:
        tally = trial(target, seed, math.ceil(number * target.share / shares), folder)
        for index, _ in tally.losses:
            kept(target).mkdir(parents=True, exist_ok=True)
            (kept(target) / f"{seed}-{index}").write_bytes(drawn(target, seed, index))
        yield tally


_PARTS: Mapping[str, Callable[[argparse.Namespace, Path], Iterator[Tally]]] = {
    "inputs": _inputs,
    "flips": _flips,
    "mistakes": lambda _, folder: bad_inputs.trials(folder),
    "numbers": lambda given, folder: numbers.trials(folder, given.numbers, given.seed),
    "kills": lambda given, folder: kills.trials(folder, given.kills, given.seed, given.jobs),
    "rot": lambda given, folder: rot.trials(folder, given.rot, given.seed),
    "clocks": lambda _, folder: clocks.trials(folder),
    "remotes": lambda given, folder: remotes.trials(folder, given.remotes, given.seed),
    "endings": lambda given, folder: endings.trials(folder, given.endings, given.seed, given.jobs),
    "endurance": lambda _, __: endured(ROOT / "tests/endurance"),
}

if __name__ == "__main__":
    main()
