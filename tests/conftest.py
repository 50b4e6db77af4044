import gc
import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler.loadfile import LoadFileScheduling

# A third of the time of collecting goes into looking through PyTorch's and Prefect's objects for garbage.
gc.disable()

# Whoever started the tests in the background has interrupts ignored, and with them every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# PyTorch's threads wait for each other in busy loops. Beside other processes, as here, that takes three to seven times the
# CPU time of a single thread. PyTorch reads this when it is loaded, and so do the stages.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same cases in every run, so that a red test tells of a change; `--hypothesis-profile=new`, as each week, draws others.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("new", deadline=None)
settings.load_profile("same")

_HERE = Path(__file__).parent
_ONE_SERVER = tuple(
    _HERE / "flows" / name
    for name in (
        "server/test_heartbeat.py",
        "server/test_notifications.py",
        "server/test_pools.py",
        "test_announce.py",
        "test_deploy.py",
        "test_deploy_refusals.py",
        "test_products.py",
        "test_report.py",
        "test_retrain.py",
        "test_side_by_side.py",
    )
)
"""Whose tests share a Prefect server, which takes as much time of a processor as a hundred other tests."""
_FIRST = (*_ONE_SERVER, _HERE / "pipeline", _HERE / "advice/inspection/test_random_files.py", _HERE / "flows")
"""Of these files some take minutes: at the end of a run, the other processes would wait for the one that has it."""


class _Scheduling(LoadFileScheduling):
    """Gives a process one file at a time, and all those that share a server to the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "one server" if _HERE.parent / file in _ONE_SERVER else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    return _Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    items.sort(key=lambda item: [path not in (item.path, *item.path.parents) for path in _FIRST])


def pytest_collection_finish() -> None:
    """Leave out of every search for garbage what has been loaded by now."""
    gc.enable()
    gc.collect()
    gc.freeze()
