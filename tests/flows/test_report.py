"""What a person sees of several runs, read back from a real server."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from prefect import flow
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from flows import report
from flows.results import Results
from tests.flows.servers import PrefectServer


@pytest.fixture
def on_server(server: PrefectServer) -> Iterator[PrefectServer]:
    """The server, which this process talks to as a flow would."""
    with temporary_settings({PREFECT_API_URL: server.api_url, PREFECT_LOGGING_TO_API_ENABLED: False}):
        yield server


@flow
def add(metrics: dict[str, report.Metrics]) -> None:
    """Add runs to the history, one after another; Prefect wants a flow around an artifact."""
    for run, of_run in metrics.items():
        report.add_to_history(
            "rnnflow", run, of_run, Results(verdict={"challenger": {"name": "gru"}, "verdict": "better"})
        )


def history(server: PrefectServer) -> list[dict[str, Any]]:
    """Return the rows of the table that the server shows now."""
    with server.client() as client:
        newest, *_ = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["rnnflow-metrics"])),
            sort=ArtifactSort.UPDATED_DESC,
        )
    rows: list[dict[str, Any]] = json.loads(str(newest.data))
    return rows


def test_the_history_grows_by_the_models_of_each_run_and_keeps_the_last_ones(on_server: PrefectServer) -> None:
    first = {"train@rnn": {"accuracy": 0.5}, "evaluate@rnn": {"log_loss": 0.7}}
    second = {"evaluate@rnn": {"accuracy": 0.6}, "evaluate@gru": {"accuracy": 0.8}}
    add({"first": first, "second": second})
    rows = [
        tuple(row[name] for name in ("run", "model", "verdict", "accuracy", "log_loss")) for row in history(on_server)
    ]
    assert rows[:3] == [
        ("second", "rnn", "", 0.6, None),
        ("second", "gru", "better", 0.8, None),
        ("first", "rnn", "", 0.5, 0.7),
    ]
    add({f"run {number}": {"evaluate@rnn": {"accuracy": 0.9}} for number in range(report.MAX_REMEMBERED_RUNS - 1)})
    runs = list(dict.fromkeys(row["run"] for row in history(on_server)))
    assert len(runs) == report.MAX_REMEMBERED_RUNS
    assert runs[-1] == "second"


def test_a_run_that_is_made_anew_is_in_the_history_once(on_server: PrefectServer) -> None:
    for accuracy in (0.5, 0.6):
        add({"made anew": {"evaluate@rnn": {"accuracy": accuracy}}})
    assert [row["accuracy"] for row in history(on_server) if row["run"] == "made anew"] == [0.6]


def test_a_run_without_results_leaves_the_history_as_it_was(on_server: PrefectServer) -> None:
    add({"good": {"evaluate@rnn": {"accuracy": 0.9}}})
    before = history(on_server)
    add({"failed": {}})
    assert history(on_server) == before
    assert before[0]["run"] == "good"


def test_a_line_that_only_looks_like_an_epoch_is_logged_and_no_more() -> None:
    lines: list[str] = []
    report.Progress("rnnflow", "train@rnn", lines.append)("epoch 0/0")
    assert lines == ["epoch 0/0"]


def test_validation_comes_before_test_in_the_table_of_a_run() -> None:
    table = report.metrics_table("evaluate", {"rnn": {"accuracy": 0.5, "step": 79, "validation.accuracy": 0.625}})
    assert table.splitlines()[-2:] == ["| validation.accuracy | 0.625 |", "| accuracy | 0.5 |"]
