"""Where a run works: in place, or in a clone of its own that is gone afterwards."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_state_path

from flows.redaction import redacted
from flows.repository.git import commit_id, git
from flows.repository.project import project_name
from flows.supervision.dvc import Dvc
from rnnflow.runtime.errors import InputError

STATE = "RNNFLOW_STATE"
RUNS = "runs"
DVC_FILES = ("dvc.lock", ".gitignore")
"""What DVC itself changes beside the .dvc files: no local changes of a person."""


@dataclass(frozen=True)
class Workspace:
    """A DVC repository that nobody else works in while the run has it.

    Attributes:
        folder: its top.
        base: hash of the commit that it started from.
        repository: URL or path of the Git repository to publish to.
        dvc: runs its stages, and DVC's other commands.
        state: where its stages keep what outlives them, such as the states of trainings.
        project: its name on a Prefect server.
        product: the folder's place in the Git repository.
        is_clone: whether it is the run's own and empty of data at first.
    """

    folder: Path
    base: str
    repository: str
    dvc: Dvc
    state: Path
    project: str
    product: str = "."
    is_clone: bool = False


@contextmanager
def in_place(folder: Path, repository: str, *, allow_dirty: bool) -> Iterator[Workspace]:
    """Work in a person's own work tree.

    Raises:
        InputError: it is no Git and DVC repository, has local changes, or another run is at work in it.
    """
    top = _dvc_root(folder)
    if commit_id(top, "HEAD") is None:
        raise InputError(f"{top}: nothing is committed yet; `git commit` first")
    changed = _local_changes(top)
    if changed and not allow_dirty:
        named = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        raise InputError(f"{named}: changed and not committed; commit, use --isolated, or say --allow-dirty")
    message = f"{top}: another run is at work here; wait for it or use --isolated"
    with _held(top / ".dvc/tmp/retrain.lock", message), Dvc(top, _code(top)) as dvc:
        state = top / os.environ.get(STATE, ".rnnflow")
        base, url = git(top, "rev-parse", "HEAD"), resolve(folder, repository)
        product = product_of(top)
        yield Workspace(top, base, url, dvc, state, project_name(own_repository(folder), product), product)


@contextmanager
def isolated(
    folder: Path, repository: str, revision: str, name: str, ref: str = "", product: str = "."
) -> Iterator[Workspace]:
    """Work in a new clone of `revision`, which shares DVC's cache with other clones and is removed at the end.

    Clones that dead runs left behind are removed first.

    Args:
        folder: where `repository` is looked up, if it is a relative path or the name of a remote.
        repository: path, URL or name of a remote, as in `git fetch`.
        revision: branch, tag or hash of a commit.
        name: of the clone's folder, unique for each run.
        ref: fetched beside the branches and tags, for a `revision` that none of them holds.
        product: folder in the repository that holds `dvc.yaml`.

    Raises:
        InputError: the repository cannot be cloned, or has no such revision.
    """
    url = resolve(folder, repository)
    state = state_folder()
    clone = state / RUNS / name
    with _claimed(clone):
        git(clone.parent, "clone", "--quiet", "--no-checkout", url, str(clone))
        if ref:
            git(clone, "fetch", "--quiet", "origin", ref)
        base = commit_id(clone, revision)
        if base is None:
            raise InputError(f"revision '{revision}' is not in {redacted(url)}")
        git(clone, "checkout", "--quiet", "--detach", base)
        top = clone / product
        if not (top / ".dvc").is_dir():
            where = "" if top == clone else f" in {product}"
            raise InputError(f"revision '{revision}' of {redacted(url)} holds no DVC repository{where}")
        _configure(top, state / "cache")
        with Dvc(top, {STATE: str(state), **_code(top)}) as dvc:
            project = project_name(own_repository(folder), product)
            yield Workspace(top, base, url, dvc, state, project, product, is_clone=True)


def on_top_of(workspace: Workspace, commit: str) -> Workspace:
    """Let a run's own clone start again from another commit; what it has made so far is in DVC's cache."""
    git(workspace.folder, "checkout", "--quiet", "--force", "--detach", commit)
    return replace(workspace, base=commit)


def product_of(folder: Path) -> str:
    """Return the place in its Git repository of the DVC repository that a folder is in.

    Raises:
        InputError: it is in none.
    """
    return git(_dvc_root(folder), "rev-parse", "--show-prefix").rstrip("/") or "."


def state_folder() -> Path:
    """Return where clones, their shared cache and the states of trainings are kept on this machine."""
    return Path(os.environ.get(STATE) or user_state_path("rnnflow")).absolute()


def own_repository(folder: Path) -> str:
    """Return the URL of a clone's `origin`, or the clone itself where it has none."""
    return resolve(folder, "origin" if "origin" in git(folder, "remote").split() else ".")


def resolve(folder: Path, repository: str) -> str:
    """Return the URL of a remote given by name, an absolute path for a folder, and any other URL as it is."""
    top = Path(git(folder, "rev-parse", "--show-toplevel"))
    if repository == ".":
        return str(top)
    if repository in git(folder, "remote").split():
        folder, repository = top, git(folder, "remote", "get-url", repository)
    return str((folder / repository).resolve()) if (folder / repository).is_dir() else repository


def require_no_password(url: str) -> None:
    """Make sure that a URL may be kept where others read it: a server shows variables and parameters to everybody.

    Raises:
        InputError: something stands before the `@` of a web address.
    """
    shown = redacted(url)
    if shown != url:
        raise InputError(
            f"{shown}: the address was given with a user, token or password, which everybody on the Prefect server could "
            "read; leave it out, and let Git's credential helper know it on each machine (git help credentials)"
        )


def _dvc_root(folder: Path) -> Path:
    """Return the nearest folder with a DVC repository, up to the top of the Git repository: it may hold several."""
    top = Path(git(folder, "rev-parse", "--show-toplevel"))
    folder = folder.resolve()
    for parent in (folder, *folder.parents):
        if (parent / ".dvc").is_dir():
            return parent
        if parent == top:
            break
    if top != folder and (folder / "dvc.yaml").exists():
        raise InputError(f"{folder}: not a DVC repository, and a part of {top}; `dvc init --subdir` here, and commit")
    raise InputError(f"{top}: not a DVC repository; run from a clone of the project, or `dvc init`")


def _code(top: Path) -> dict[str, str]:
    """Return the environment in which a DVC repository that is a part of a Git repository finds the code of the whole."""
    whole = git(top, "rev-parse", "--show-toplevel")
    return {} if whole == str(top) else {"PYTHONPATH": os.pathsep.join([whole, os.environ.get("PYTHONPATH", "")])}


def _local_changes(top: Path) -> list[str]:
    paths = git(top, "diff", "--relative", "--name-only", "-z", "HEAD").split("\0")
    return [path for path in paths if path and Path(path).name not in DVC_FILES and not path.endswith(".dvc")]


def _configure(clone: Path, cache: Path) -> None:
    """Share the cache, and keep in the clone what DVC would leave in the machine's temporary folder for ever."""
    own = clone / ".dvc/tmp/site-cache"
    (clone / ".dvc/config.local").write_text(f'[cache]\n    dir = "{cache}"\n[core]\n    site_cache_dir = "{own}"\n')


@contextmanager
def _held(path: Path, message: str) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=0):
            yield
    except Timeout:
        raise InputError(message) from None


@contextmanager
def _claimed(clone: Path) -> Iterator[None]:
    """Hold the lock of a clone that is still to be made, and remove both at the end.

    Whoever starts looks for the dead one after another, so that nobody takes the lock of one who is about to.
    """
    runs = clone.parent
    runs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with FileLock(runs_lock(runs.parent)):
            _remove_abandoned(runs)
            stack.enter_context(_held(_lock(clone), f"{clone}: another run is at work here"))
        stack.callback(_remove, clone)
        yield


def _remove_abandoned(runs: Path) -> None:
    """The operating system frees the lock of a run that died; only such a clone is removed."""
    for name in {path.name.removesuffix(".lock") for path in runs.iterdir()}:
        with suppress(Timeout), FileLock(_lock(runs / name), timeout=0):
            _remove(runs / name)


def runs_lock(state: Path) -> Path:
    """Return the lock that is held by whoever looks for the clones of dead runs, or removes what is old."""
    return state / f"{RUNS}.lock"


def _lock(clone: Path) -> Path:
    return clone.with_name(f"{clone.name}.lock")


def _remove(clone: Path) -> None:
    shutil.rmtree(clone, ignore_errors=True)
    _lock(clone).unlink(missing_ok=True)
