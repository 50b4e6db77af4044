"""The stages of a workspace, asked from DVC: `dvc.yaml` alone says which there are, DVC alone which are stale."""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dvc.stage
import networkx
from dvc.exceptions import CyclicGraphError, DvcException, OutputDuplicationError, OverlappingOutputPathsError
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.stage import PipelineStage
from dvc.utils.serialize import modify_yaml
from dvc.utils.strictyaml import YAMLSyntaxError, YAMLValidationError
from ruamel.yaml.error import MarkedYAMLError

from flows.repository.dvc_internals import is_in_run_cache, open_repository
from flows.settings import group
from rnnflow.runtime.errors import InputError

_SHARES = ("num_threads", "num_processes")
_OF_THE_GRAPH = (CyclicGraphError, OutputDuplicationError, OverlappingOutputPathsError)


@dataclass(frozen=True)
class Source:
    """Data that a `.dvc` file tracks.

    Attributes:
        file: the `.dvc` file.
        path: the data.
        is_import: whether `dvc update` can bring a newer version.
    """

    file: str
    path: str
    is_import: bool


@dataclass(frozen=True)
class Stage:
    """A stage as the flow sees it.

    Attributes:
        name: in `dvc.yaml`, `train@rnn` for an entry of a `foreach`.
        upstream: names of the stages it directly depends on.
        is_stale: whether DVC would run it now.
        is_new: whether `dvc.lock` does not name it yet.
        num_threads: how many it computes with, by its params.
        sources: the tracked data that it directly depends on.
        outs: paths of what it makes.
        metrics: of those in which it leaves numbers.
    """

    name: str
    upstream: frozenset[str]
    is_stale: bool
    is_new: bool
    num_threads: int = 1
    sources: frozenset[Source] = frozenset()
    outs: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


def read(workspace: Path, only: Sequence[str] = ()) -> list[Stage]:
    """Return the stages, each after those it depends on and otherwise in the order of the file.

    Args:
        workspace: the DVC repository.
        only: names of stages, or of groups such as `train`; these and all they depend on. Empty: every stage.

    Raises:
        InputError: DVC cannot read the workspace, or a name of `only` is not there.
    """
    with _opened(workspace) as repo:
        graph = repo.index.graph
        if not any(isinstance(stage, PipelineStage) for stage in graph):
            raise InputError(f"dvc.yaml: there are no stages in {workspace}")
        place = {stage: number for number, stage in enumerate(repo.index.stages)}
        ordered = networkx.lexicographical_topological_sort(graph.reverse(), key=place.__getitem__)
        stages = [stage for stage in ordered if isinstance(stage, PipelineStage)]
        wanted = _wanted(graph, stages, only)
        stale = _stale(repo, stages)
        return [_described(graph, stage, stage in stale) for stage in stages if stage in wanted]


def inputs(workspace: Path, name: str) -> list[str]:
    """Return the paths of what a stage depends on and other stages make."""
    with _opened(workspace) as repo:
        stage = _find(repo, workspace, name)
        upstream = [other for other in repo.index.graph.successors(stage) if isinstance(other, PipelineStage)]
        found = set()
        for out in (out for other in upstream for out in other.outs):
            for dep in stage.deps:
                if dep.fs.isin_or_eq(dep.fs_path, out.fs_path):
                    found.add(dep.fs_path)
                elif dep.fs.isin(out.fs_path, dep.fs_path):
                    found.add(out.fs_path)
        return sorted(os.path.relpath(path, workspace) for path in found)


def has_run_before(workspace: Path, name: str) -> bool:
    """Return whether the run cache of this machine knows what the stage made of what it depends on, all of it there."""
    with _opened(workspace, wait_for_lock=True) as repo, repo.lock:
        stage = _find(repo, workspace, name)
        try:
            stage.save_deps()
        except DvcException:  # something is missing, and whoever runs the stage will say what
            return False
        return is_in_run_cache(stage)


def fingerprint(workspace: Path, name: str) -> str | None:
    """Return what tells a stage's result from others: its command and the content of all that it depends on.

    None where something that it depends on is missing.
    """
    with _opened(workspace, wait_for_lock=True) as repo, repo.lock:
        stage = _find(repo, workspace, name)
        try:
            stage.save_deps()
        except DvcException:  # whoever runs the stage will say what
            return None
        content = sorted([str(dep.def_path), str(dep.hash_info.value)] for dep in stage.deps)
    return hashlib.sha256(json.dumps([stage.cmd, content]).encode()).hexdigest()[:32]


@contextmanager
def locked(workspace: Path) -> Iterator[None]:
    """Hold DVC's lock on a workspace, under which it changes its own files."""
    with _opened(workspace, wait_for_lock=True) as repo, repo.lock:
        yield


def put_in_order(workspace: Path, names: Sequence[str]) -> None:
    """Let `dvc.lock` name these stages, as far as it does, last and in this order; DVC appends them as they come."""
    path = workspace / "dvc.lock"
    if not names or not path.exists():
        return
    with modify_yaml(path) as content:
        stages = content["stages"]
        for name in names:
            if name in stages:
                stages[name] = stages.pop(name)


def sources(workspace: Path) -> list[Source]:
    """Return the data that `.dvc` files track."""
    with _opened(workspace) as repo:
        return [
            source for stage in repo.index.stages if not isinstance(stage, PipelineStage) for source in _data(stage)
        ]


def changed_data(workspace: Path) -> list[str]:
    """Return the paths of data that is no longer what its `.dvc` file says; neither of imports nor of missing data."""
    with _opened(workspace, wait_for_lock=True) as repo, repo.lock:
        return [
            source.path
            for stage in repo.index.stages
            if not isinstance(stage, PipelineStage)
            for source, out in zip(_data(stage), stage.outs, strict=True)
            if not source.is_import and out.exists and out.changed_checksum()
        ]


def input_folders(workspace: Path) -> list[str]:
    """Return the folders that stages depend on and none writes to: where raw data is put."""
    with _opened(workspace) as repo:
        made = {out.fs_path for stage in repo.index.stages for out in stage.outs}
        folders = {dep.fs_path for stage in repo.index.stages for dep in stage.deps if dep.is_in_repo}
        written = [out.fs_path for stage in repo.index.stages if isinstance(stage, PipelineStage) for out in stage.outs]
        unwritten = [path for path in folders - made if not any(Path(out).is_relative_to(path) for out in written)]
        return sorted(os.path.relpath(path, workspace) for path in unwritten if Path(path).is_dir())


def metrics(workspace: Path, stages: Iterable[Stage]) -> dict[str, dict[str, float]]:
    """Return the metrics of those of the stages that have any in the workspace: the numbers of their JSON files."""
    found = {stage.name: _numbers([workspace / path for path in stage.metrics]) for stage in stages}
    return {stage: numbers for stage, numbers in found.items() if numbers}


def _numbers(files: list[Path]) -> dict[str, float]:
    """Return the numbers of JSON files; a nested one is called `validation.accuracy`."""
    found: dict[str, float] = {}
    waiting = [("", json.loads(path.read_text())) for path in files if path.suffix == ".json" and path.exists()]
    for name, value in waiting:
        if isinstance(value, dict):
            waiting += [(f"{name}.{key}".lstrip("."), inner) for key, inner in value.items()]
        elif isinstance(value, int | float):
            found[name] = value
    return found


def default_remote(workspace: Path) -> str | None:
    """Return the URL of the remote that `dvc push` would use, or None."""
    with _opened(workspace) as repo:
        name = repo.config["core"].get("remote")
        if name and name not in repo.config["remote"]:
            raise InputError(f".dvc/config: the default remote '{name}' is not among its remotes")
        return repo.config["remote"][name]["url"] if name else None


def _find(repo: Repo, workspace: Path, name: str) -> PipelineStage:
    """Return a stage without reading the others, or the folders for more `.dvc` files."""
    return repo.stage.load_one(str(workspace / "dvc.yaml"), name)


@contextmanager
def _opened(workspace: Path, *, wait_for_lock: bool = False) -> Iterator[Repo]:
    try:
        with open_repository(workspace, wait_for_lock=wait_for_lock) as repo:
            yield repo
    except DvcException as error:
        raise InputError(_one_line(error, workspace)) from error


def _one_line(error: DvcException, workspace: Path) -> str:
    """Return DVC's message with what it would only print below it, and paths from the workspace's top."""
    details = []
    if isinstance(error, YAMLValidationError):
        parts = [(".".join(map(str, part.path)), part.error_message) for part in error.exc.errors]
        details = [": ".join(filter(None, part)) for part in parts]
    elif isinstance(error, YAMLSyntaxError) and isinstance(error.__cause__, MarkedYAMLError):
        mark = error.__cause__.problem_mark
        details = [f"line {mark.line + 1}: {error.__cause__.problem}" if mark else str(error.__cause__.problem)]
    line = " ".join("; ".join([str(error), *details]).split())
    line = re.sub(rf"(?<![\w./]){re.escape(os.path.relpath(workspace))}/", "", line)
    return f"dvc.yaml: {line}" if isinstance(error, _OF_THE_GRAPH) and "dvc.yaml" not in line else line


def _wanted(graph: networkx.DiGraph, stages: list[PipelineStage], only: Sequence[str]) -> set[PipelineStage]:
    if not only:
        return set(stages)
    wanted = set()
    for name in only:
        named = [stage for stage in stages if name in (stage.name, group(stage.name))]
        if not named:
            known = ", ".join(stage.name for stage in stages)
            raise InputError(f"stage '{name}' is not in dvc.yaml; there are {known}")
        for stage in named:
            wanted |= {stage, *networkx.descendants(graph, stage)}
    return wanted


def _stale(repo: Repo, stages: list[PipelineStage]) -> set[PipelineStage]:
    try:
        with repo.lock:
            return {stage for stage in stages if stage.changed()}
    except LockError:  # another DVC is at work here; `dvc repro` waits for it and then decides
        return set(stages)


def _described(graph: networkx.DiGraph, stage: PipelineStage, is_stale: bool) -> Stage:
    direct = set(graph.successors(stage))
    upstream = {other for other in direct if isinstance(other, PipelineStage)}
    outs = {os.path.relpath(out.fs_path, stage.repo.root_dir): bool(out.metric) for out in stage.outs}
    return Stage(
        name=stage.name,
        upstream=frozenset(other.name for other in upstream),
        is_stale=is_stale,
        is_new=not any(item.hash_info for item in (*stage.outs, *stage.deps)),
        num_threads=_num_threads(stage),
        sources=frozenset(source for other in direct - upstream for source in _data(other)),
        outs=tuple(outs),
        metrics=tuple(path for path, is_metric in outs.items() if is_metric),
    )


def _num_threads(stage: PipelineStage) -> int:
    """Return `num_threads` of each of `num_processes`, where the params section of the stage's own name has them."""
    sections = [dep.read_params().get(group(stage.name)) for dep in stage.params]
    entries = [section.get(name) for section in sections if isinstance(section, dict) for name in _SHARES]
    return math.prod(number for number in entries if isinstance(number, int) and number > 0)


def _data(stage: dvc.stage.Stage) -> list[Source]:
    """Return what a `.dvc` file tracks."""
    top = stage.repo.root_dir
    file, is_import = os.path.relpath(stage.path, top), stage.is_import or stage.is_repo_import
    return [Source(file, os.path.relpath(out.fs_path, top), is_import) for out in stage.outs]
