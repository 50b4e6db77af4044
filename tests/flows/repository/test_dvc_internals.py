"""DVC's private names; what rests on them is tried in `test_pipeline.py` and `test_pipeline_results.py`."""

import threading
from concurrent.futures import ThreadPoolExecutor

import dvc
import pytest
from dvc.lock import LockError
from dvc.repo import Repo

from flows.repository.dvc_internals import TRIED_WITH, is_in_run_cache, open_repository
from tests.flows.repositories import Repository

pytest_plugins = ["tests.flows.repositories"]


def test_the_private_names_were_tried_with_the_version_that_is_installed() -> None:
    assert dvc.__version__ == TRIED_WITH, (
        f"this is DVC {dvc.__version__}: read flows/repository/dvc_internals.py beside its source, "
        "run tests/flows/repository, and set TRIED_WITH"
    )


def test_the_run_cache_knows_what_has_run_and_nothing_else(repository: Repository) -> None:
    with open_repository(repository.folder, wait_for_lock=False) as repo, repo.lock:
        stage = next(stage for stage in repo.index.stages if stage.addressing.endswith("train@a"))
        stage.save_deps()
        assert is_in_run_cache(stage)
        stage.cmd = f"{stage.cmd} --other"
        assert not is_in_run_cache(stage)


def test_the_lock_is_waited_for_where_that_is_asked_for(repository: Repository) -> None:
    is_held, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        with Repo(str(repository.folder)).lock:
            is_held.set()
            may_go.wait()

    with ThreadPoolExecutor() as threads:
        threads.submit(hold)
        is_held.wait()
        with open_repository(repository.folder, wait_for_lock=False) as repo, pytest.raises(LockError):
            repo.lock.lock()
        may_go.set()
        with open_repository(repository.folder, wait_for_lock=True) as repo, repo.lock:
            pass
