"""What has arrived since the last run: newer versions of imports, files nobody tracks yet."""

from collections.abc import Callable, Collection, Iterable, Sequence

from flows.repository import pipeline, rot
from flows.repository.git import git
from flows.repository.workspace import Workspace
from rnnflow.runtime.errors import InputError


def track_new_data(workspace: Workspace, log: Callable[[str], None]) -> str:
    """Bring imports up to date, put new and changed files of the input folders under DVC's control, and say which."""
    found = pipeline.sources(workspace.folder)
    imports = {source.file: source.path for source in found if source.is_import}
    before = _contents(workspace, imports)
    if imports:
        workspace.dvc.run(["update", *imports], log)
    after = _contents(workspace, imports)
    updated = [path for file, path in imports.items() if after[file] != before[file]]
    added = [*pipeline.changed_data(workspace.folder), *_untracked(workspace, [source.file for source in found])]
    if added:
        workspace.dvc.run(["add", *added], log)
    new = ", ".join([*updated, *added])
    return f"new: {new}" if new else f"{len(imports)} imports looked at, nothing new"


def require(workspace: Workspace, stages: Sequence[pipeline.Stage], log: Callable[[str], None]) -> None:
    """Make sure that the tracked data of stages is there: a folder with a part missing would look like a smaller one.

    In a clone, whose files nobody edits, those that a stage will read now are also what their `.dvc` files say, byte for byte:
    raw data has no checksum of its own, and DVC believes its cache and its remote.

    Raises:
        InputError: it is neither in the workspace nor came with a pull, or is damaged wherever it is kept.
    """
    needed = {source.path: source for stage in stages for source in stage.sources}
    missing = [path for path in sorted(needed) if not (workspace.folder / path).exists()]
    if missing:
        first = needed[missing[0]]
        raise InputError(
            f"{first.path}: tracked by {first.file} and not here; push it to the remote from where it is "
            f"(`dvc push {first.file}`) and let the run pull"
        )
    if workspace.is_clone:
        read = sorted({source.path for stage in stages if stage.is_stale for source in stage.sources})
        command = "pull" if pipeline.default_remote(workspace.folder) else "checkout"
        _, lost = rot.restore(workspace, read, command, log)
        if lost:
            raise InputError(
                f"{lost[0]}: damaged in DVC's cache, from where it was removed, and not whole in its remote; docs/"
                "troubleshooting.md says how to replace it there"
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
