"""What has arrived since the last run: newer versions of imports, files nobody tracks yet."""

from collections.abc import Callable, Collection, Iterable

from flows import pipeline
from flows.git import git
from flows.stage_runner import run_dvc
from flows.workspace import Workspace
from rnnflow.errors import InputError


def take_in(workspace: Workspace, log: Callable[[str], None]) -> str:
    """Bring imports up to date, put new and changed files of the input folders under DVC's control, and say which."""
    found = pipeline.sources(workspace.folder)
    imports = {source.file: source.path for source in found if source.is_import}
    before = _contents(workspace, imports)
    if imports:
        run_dvc(["update", *imports], workspace.folder, log, workspace.environment)
    after = _contents(workspace, imports)
    updated = [path for file, path in imports.items() if after[file] != before[file]]
    changed = [source.path for source in found if source.is_changed and not source.is_import]
    added = [*changed, *_untracked(workspace, [source.file for source in found])]
    if added:
        run_dvc(["add", *added], workspace.folder, log, workspace.environment)
    new = ", ".join([*updated, *added])
    return f"new: {new}" if new else f"{len(imports)} imports looked at, nothing new"


def require(workspace: Workspace, files: Collection[str] = ()) -> None:
    """Make sure that tracked data is there: a folder with a part missing would only look like a smaller one.

    Args:
        workspace: where to look.
        files: the `.dvc` files whose data is needed; by default every one.

    Raises:
        InputError: it is neither in the workspace nor came with a pull.
    """
    needed = [source for source in pipeline.sources(workspace.folder) if not files or source.file in files]
    missing = [source for source in needed if not source.is_here]
    if missing:
        first = missing[0]
        raise InputError(
            f"{first.path}: tracked by {first.file} and not here; push it to the remote from where it is "
            f"(`dvc push {first.file}`) and let the run pull"
        )


def _contents(workspace: Workspace, files: Iterable[str]) -> dict[str, bytes]:
    return {file: (workspace.folder / file).read_bytes() for file in files}


def _untracked(workspace: Workspace, tracking: Collection[str]) -> list[str]:
    """Return files and whole folders; of a folder in which a `.dvc` file tracks a part already, its other files."""
    folders = pipeline.input_folders(workspace.folder)
    found = _listed(workspace, folders, "--directory", "--no-empty-directory")
    in_part = [path for path in found if any(file.startswith(path) for file in tracking)]
    paths = [path for path in found if path not in in_part] + _listed(workspace, in_part)
    return [path.rstrip("/") for path in paths if not path.endswith((".dvc", ".gitignore"))]


def _listed(workspace: Workspace, folders: Collection[str], *options: str) -> list[str]:
    if not folders:
        return []
    ignored = ["--exclude-from=.dvcignore"] if (workspace.folder / ".dvcignore").exists() else []
    command = ["ls-files", "-z", "--others", "--exclude-standard", *ignored, *options, "--", *folders]
    return [path for path in git(workspace.folder, *command).split("\0") if path]
