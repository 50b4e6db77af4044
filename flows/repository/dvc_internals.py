"""What the flow asks of DVC by private names, in one place: a newer DVC may rename them without a word.

`TRIED_WITH` is the version they were tried with. Two questions have no public form:

- Whether the run cache knows a stage. `StageCache.restore(stage, dry=True)` is public, but it also wants the results
  themselves on this machine, while a coordinated run pulls them from the remote when it knows that they exist.
- Waiting for the repository's lock. DVC's command line has `--wait-for-lock`, and hands it on as a private argument.
"""

from pathlib import Path

from dvc.repo import Repo
from dvc.stage import PipelineStage
from dvc.stage.cache import _can_hash

TRIED_WITH = "3.67.1"


def open_repository(folder: Path, *, wait_for_lock: bool) -> Repo:
    """Return DVC's view of a repository, whose lock is waited for as long as it takes, or for three seconds."""
    return Repo(str(folder), _wait_for_lock=wait_for_lock)


def is_in_run_cache(stage: PipelineStage) -> bool:
    """Return whether the run cache of this machine knows what the stage made of the dependencies it has recorded."""
    return _can_hash(stage) and stage.repo.stage_cache._load(stage) is not None
