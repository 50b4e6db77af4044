"""`make faults`: damages inputs, flips bits, kills runs; counts what was lost, and writes docs/reliability.md."""

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from rnnflow.runtime.provenance import ROOT
from tests.faults import flips, kills, page
from tests.faults.endurance import endured
from tests.faults.fuzz import targets
from tests.faults.fuzz.trials import Tally, Target, drawn, kept, trial


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="damaged inputs of all readers together")
    parser.add_argument("--flips", type=int, default=1_500, help="flipped bits of all files together")
    parser.add_argument("--kills", type=int, default=100, help="killed runs of dvc repro")
    parser.add_argument("--seed", type=int, default=0, help="decides all of them")
    parser.add_argument(
        "--endurance", action="store_true", help="run the tests of deaths, cancels and time-outs as well"
    )
    parser.add_argument("--write", type=Path, help="the page, such as docs/reliability.md")
    arguments = parser.parse_args(argv)
    found: dict[str, list[Tally]] = {}
    with tempfile.TemporaryDirectory(prefix="rnnflow-faults-") as name:
        for part, tally in _all(arguments, Path(name)):
            found.setdefault(part, []).append(tally)
            print(f"{part}: {tally.target}: {tally.tries:,} tries, {len(tally.losses)} lost", flush=True)
            for number, what in tally.losses:
                print(f"    number {number}: {what}", flush=True)
    if arguments.write:
        arguments.write.write_text(page.text(found, arguments.seed), encoding="utf-8")
    sys.exit(any(tally.losses for tallies in found.values() for tally in tallies))


def _all(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Tally]]:
    readers = targets.all_targets(folder / "readers")
    yield from (("inputs", tally) for tally in _tried(readers, arguments.inputs, arguments.seed, folder))
    pairs = flips.all_targets(folder / "files")
    yield from (("flips", tally) for tally in _tried(pairs, arguments.flips, arguments.seed, folder))
    if arguments.kills:
        yield "kills", kills.trials(folder / "kills", arguments.kills, arguments.seed)
    if arguments.endurance:
        yield from (("endurance", tally) for tally in endured(ROOT / "tests/endurance"))


def _tried(readers: Sequence[Target], number: int, seed: int, folder: Path) -> Iterator[Tally]:
    """Share `number` tries among readers, and keep each input that was lost, for `tests/faults/fuzz/test_fuzz.py`."""
    shares = sum(target.share for target in readers)
    for target in readers:
        tally = trial(target, seed, math.ceil(number * target.share / shares), folder)
        for index, _ in tally.losses:
            kept(target).mkdir(parents=True, exist_ok=True)
            (kept(target) / f"{seed}-{index}").write_bytes(drawn(target, seed, index))
        yield tally


if __name__ == "__main__":
    main()
