"""A bit that flips where DVC does not look, in a file with the time stamp it had: `make run` makes it good without a hand."""

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from rnnflow.runtime.provenance import ROOT, file_md5
from tests.faults.clones import environment, make_run
from tests.faults.fuzz.trials import Tally
from tests.flows.servers import PrefectServer
from tests.pipeline.conftest import Clone, small_project

MODEL = "gru"
READ = (
    "data/sequences/validation/part-00000.parquet",
    "data/sequences/test/part-00000.parquet",
    f"models/{MODEL}/checkpoint.safetensors",
)
"""What the stages read that are stale once the params of stage evaluate have changed."""
RUNS = 2
"""What is whole nowhere is found by a first run and made again by a second."""


def trials(folder: Path, number: int, seed: int) -> Iterator[Tally]:
    """Flip a bit of `number` files, of every other one in DVC's cache as well, and run what reads them."""
    folder.mkdir()
    origin = small_project(folder / "origin", (MODEL,))
    (origin.folder / ".venv").symlink_to(ROOT / ".venv")
    origin.run("dvc", "repro", "--quiet")
    with PrefectServer(folder / "server") as server:
        its = {"PREFECT_API_URL": server.api_url, "PREFECT_HOME": str(folder / "home")}
        expected = _lock_after(origin.copy(folder / "whole"), its)[0]
        for index in range(number):
            yield _trial(origin.copy(folder / str(index)), index, seed, its, expected)


def _trial(clone: Clone, index: int, seed: int, server: dict[str, str], expected: str) -> Tally:
    rng = random.Random(f"{seed} {index}")
    path = clone.folder / READ[index // 2 % len(READ)]
    clone.run("dvc", "status")  # by which DVC learns what it takes for unchanged from then on
    md5 = file_md5(path)
    place, bit = rng.randrange(path.stat().st_size), rng.randrange(8)
    where = [path, *([clone.folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]] if index % 2 else [])]
    for each in where:
        flip(each, place, bit)
    lock, said = _lock_after(clone, server)
    shutil.rmtree(clone.folder)
    target = "in the work tree and DVC's cache" if index % 2 else "in the work tree"
    lost = "" if lock == expected else f"{path.name}, bit {bit} of byte {place}: {said}"
    return Tally(f"{target} → make run", 1, losses=[(index, lost)] if lost else [])


def flip(path: Path, place: int, bit: int) -> None:
    """Flip a bit as a disk does, which tells nobody."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _lock_after(clone: Clone, server: dict[str, str]) -> tuple[str, str]:
    """Return `dvc.lock` after runs of stage evaluate with other params, and what the last one printed at its end."""
    clone.change_params("evaluate", num_resamples=300)
    for _ in range(RUNS):
        done = subprocess.run(
            make_run(), cwd=clone.folder, env=environment(clone, server), capture_output=True, text=True, check=False
        )
        if not done.returncode:
            return clone.read("dvc.lock"), ""
    return "", (done.stderr or done.stdout)[-300:]
