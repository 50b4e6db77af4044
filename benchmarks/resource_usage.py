"""Runs a command and writes what it used: `python -m benchmarks.resource_usage REPORT.json COMMAND …`.

A process of its own because a child's peak memory starts at that of the process which started it:
this one is small, the one that runs the benchmarks is not.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import run


@dataclass(frozen=True)
class Usage:
    """Of a process and its children that have ended."""

    cpu_seconds: float
    peak_bytes: int


def usage_of(
    command: list[str], report: Path, folder: Path, environment: dict[str, str], python: str = sys.executable
) -> Usage:
    """Run a Python module with its arguments in `folder`, by whichever interpreter, and return what it used.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    starter = [sys.executable, "-m", "benchmarks.resource_usage", str(report), python, "-m", *command]
    run(starter, check=True, cwd=folder, env=os.environ | environment, capture_output=True)
    return Usage(**json.loads(report.read_text()))


def main() -> None:
    report, *command = sys.argv[1:]
    process = os.spawnvp(os.P_NOWAIT, command[0], command)
    _, status, usage = os.wait4(process, 0)
    content = {"cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_bytes": usage.ru_maxrss * 1024}
    Path(report).write_text(json.dumps(content))
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
