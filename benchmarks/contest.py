"""Runs peers in turn, each in a process of its own, on one thread, and compares their CPU time."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
PEERS_PYTHON = REPOSITORY / ".rnnflow/peers/bin/python"
HOW_TO_INSTALL = "the peers' environment is missing; `make peers` makes it, in some minutes"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
ENVIRONMENT = {**ONE_THREAD, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
NUM_WARM_UP = 2
MIN_ROUNDS, MAX_ROUNDS = 5, 60


@dataclass(frozen=True)
class Contestant:
    """A function of a module of `benchmarks.peers`, which returns the work of a round."""

    function: str
    arguments: Sequence[str]
    python: str = str(PEERS_PYTHON)


def ours(function: str, *arguments: str) -> Contestant:
    """Return a contestant of the project's own environment."""
    return Contestant(f"ours:{function}", arguments, sys.executable)


class Worker:
    """A contestant's process."""

    def __init__(self, contestant: Contestant) -> None:
        command = [contestant.python, "-m", "benchmarks.peers.worker", contestant.function, *contestant.arguments]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by __exit__
        self._process = subprocess.Popen(
            command, cwd=REPOSITORY, env=os.environ | ENVIRONMENT, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip
        assert self._answer() == "ready"

    def round(self) -> float:
        """Do the work, several times where that takes no time at all, and return the CPU seconds of once."""
        assert self._process.stdin is not None
        print("go", file=self._process.stdin)
        return float(self._answer())

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return json.loads(line)
        self._errors.seek(0)
        raise RuntimeError(f"{self._process.args!r} ended:\n{self._errors.read()[-2000:]}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()


@contextmanager
def workers(contestants: Mapping[str, Contestant]) -> Iterator[dict[str, Worker]]:
    """Start one process after the other and end all of them afterwards."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(Worker(contestant)) for name, contestant in contestants.items()}


def contest(contestants: Mapping[str, Contestant], seconds: float) -> dict[str, np.ndarray]:
    """Let all do a round in turn, for about so many seconds, and return the CPU seconds of each one's rounds."""
    with workers(contestants) as started:
        warm_up = [[worker.round() for worker in started.values()] for _ in range(NUM_WARM_UP)]
        num_rounds = int(np.clip(seconds / sum(warm_up[-1]), MIN_ROUNDS, MAX_ROUNDS))
        rounds = np.array([[worker.round() for worker in started.values()] for _ in range(num_rounds)])
    return dict(zip(started, rounds.T, strict=True))
