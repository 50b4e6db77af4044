"""What a person sees of a run in Prefect's pages: results, metrics of the last runs, the branch, the progress."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
import networkx
from prefect import get_run_logger
from prefect.artifacts import (
    Artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.schemas.objects import Artifact as StoredArtifact

from flows.outcomes import Outcomes
from flows.redaction import redacted
from flows.repository.pipeline import Stage
from flows.repository.publishing import address
from flows.results import Results
from flows.settings import group

MAX_REMEMBERED_RUNS = 20
SHOWN_METRICS = (
    "validation.accuracy",
    "validation.log_loss",
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "log_loss",
    "roc_auc",
)
"""The columns of the history, in this order, as far as the pipeline has them."""
HIDDEN_METRICS = {"learning_rate", "step"}
"""Of the last epoch, where they say nothing of the model."""
Metrics = Mapping[str, Mapping[str, float]]
"""Of each stage, by their names."""
_EPOCH = re.compile(r"epoch (\d+)/([1-9]\d*)")


@contextmanager
def if_server_answers() -> Iterator[None]:
    """Leave out what is only to be shown while a server is away: the run itself can go on without it."""
    try:
        yield
    except httpx.HTTPError as error:
        get_run_logger().warning("not shown: %s", error)


class Progress:
    """Logs a stage's lines, and shows how far its training is as a progress artifact."""

    def __init__(self, project: str, stage: str, log: Callable[[str], None]) -> None:
        self.key = _key(project, "progress", stage)
        self.log = log
        self.artifact: UUID | None = None

    def __call__(self, line: str) -> None:
        self.log(line)
        if epoch := _EPOCH.search(line):
            self._show(line, 100 * int(epoch[1]) / int(epoch[2]))

    @if_server_answers()
    def _show(self, line: str, percent: float) -> None:
        if self.artifact is None:
            created = create_progress_artifact(percent, key=self.key, description=line)
            assert isinstance(created, UUID)
            self.artifact = created
        else:
            update_progress_artifact(self.artifact, percent, description=line)


def show_results(project: str, stages: Sequence[Stage], outcomes: Outcomes, metrics: Metrics, results: Results) -> None:
    """Create the artifact `PROJECT-results`: the verdict, the metrics of the models, and what became of each stage."""
    tables = [_verdict(results)] if results.verdict else []
    tables += [metrics_table(name, models) for name, models in _grouped(metrics).items()]
    lines = ["| stage | after | outcome |", "| --- | --- | --- |"]
    lines += [f"| {stage.name} | {', '.join(sorted(stage.upstream))} | {outcomes[stage.name]} |" for stage in stages]
    text = "\n\n".join([*tables, "## Stages", f"```\n{_drawn(stages)}\n```", "\n".join(lines)])
    said = results.judged() or "Metrics, and how each stage came up to date"
    create_markdown_artifact(text, key=_key(project, "results"), description=said)


def add_to_history(project: str, run: str, metrics: Metrics, results: Results) -> None:
    """Create the artifact `PROJECT-metrics`: a row for each model of this run, above those of the runs before it."""
    judged = {results.verdict["challenger"]["name"]: results.verdict["verdict"]} if results.verdict else {}
    key = _key(project, "metrics")
    before = Artifact.get(key)
    rows: list[dict[str, Any]] = []
    if isinstance(before, StoredArtifact) and isinstance(before.data, str):
        rows = json.loads(before.data)
    models: dict[str, dict[str, float]] = defaultdict(dict)
    for stage, numbers in metrics.items():
        models[_model(stage)].update(numbers)
    rows = [row for row in rows if row["run"] != run]  # of a run that is made anew the last results count
    for model, numbers in reversed(models.items()):
        shown = {name: numbers.get(name) for name in SHOWN_METRICS}
        rows.insert(0, {"run": run, "model": model, "verdict": judged.get(model, ""), **shown})
    kept = list(dict.fromkeys(row["run"] for row in rows))[:MAX_REMEMBERED_RUNS]
    recent = [row for row in rows if row["run"] in kept]
    create_table_artifact(recent, key=key, description=f"Metrics of the last {MAX_REMEMBERED_RUNS} runs")


@if_server_answers()
def show_branch(project: str, repository: str, branch: str, report: str) -> None:
    """Create the artifact `PROJECT-published`: a link to the branch, and how one gets the report, if there is one."""
    said = "The commit that this run published"
    if report:
        said += f". The report: `dvc get {redacted(repository)} {report} --rev {branch}`"
    create_link_artifact(
        address(repository, branch), link_text=branch, key=_key(project, "published"), description=said
    )


def _verdict(results: Results) -> str:
    """Return the verdict, its reasons, and the challenger beside production."""
    lines = ["| | model | accuracy | log loss |", "| --- | --- | ---: | ---: |"]
    lines += [f"| {' | '.join(row)} |" for row in results.figures()]
    return "\n".join([f"# {results.judged()}", *(f"- {reason}" for reason in results.reasons()), "", *lines])


def _grouped(metrics: Metrics) -> dict[str, dict[str, Mapping[str, float]]]:
    groups: dict[str, dict[str, Mapping[str, float]]] = defaultdict(dict)
    for stage, numbers in metrics.items():
        groups[group(stage)][_model(stage)] = numbers
    return groups


def _model(stage: str) -> str:
    return stage.partition("@")[2] or stage


def metrics_table(name: str, models: Metrics) -> str:
    """Return the metrics of the models, those on the validation split first."""
    known = dict.fromkeys(metric for numbers in models.values() for metric in numbers if metric not in HIDDEN_METRICS)
    metrics = sorted(known, key=lambda metric: not metric.startswith("validation"))  # which alone decides
    lines = [f"## {name}", f"| | {' | '.join(models)} |", f"| --- |{' ---: |' * len(models)}"]
    lines += [f"| {row} | {' | '.join(_number(numbers.get(row)) for numbers in models.values())} |" for row in metrics]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _drawn(stages: Sequence[Stage]) -> str:
    from dvc.dagascii import draw  # brings NumPy, which nothing else here needs

    graph = networkx.DiGraph()
    graph.add_nodes_from(group(stage.name) for stage in stages)
    edges = {(group(before), group(stage.name)) for stage in stages for before in stage.upstream}
    graph.add_edges_from(edge for edge in edges if len(set(edge)) == 2)
    return draw(list(graph), [(after, before) for before, after in networkx.transitive_reduction(graph).edges])


def _key(*parts: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")
