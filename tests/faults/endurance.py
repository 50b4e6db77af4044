"""The tests of `make endurance` that kill, cancel and starve real runs, counted."""

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from tests.faults.fuzz.trials import Tally

FILES = {
    "test_deaths.py": "kill -9 of stage, DVC, supervisor, flow, worker and server",
    "test_cancels.py": "cancelled runs",
    "test_timeouts.py": "time-outs",
}


def endured(folder: Path) -> Iterator[Tally]:
    """Run each file of tests and count its tests and those that failed."""
    for name, what in FILES.items():
        with tempfile.NamedTemporaryFile(suffix=".xml") as report:
            command = ["-m", "pytest", "-q", "-m", "endurance", str(folder / name), f"--junitxml={report.name}"]
            subprocess.run([sys.executable, *command], check=False)
            suite = ElementTree.parse(report.name).getroot().find("testsuite")
        assert suite is not None
        lost = [
            case.get("name", "") for case in suite if case.find("failure") is not None or case.find("error") is not None
        ]
        yield Tally(what, int(suite.get("tests", 0)), losses=[(number, name) for number, name in enumerate(lost)])
