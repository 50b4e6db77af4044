from pathlib import Path

import pytest
from pydantic import ValidationError

from flows import settings
from rnnflow.runtime.errors import InputError

GOOD = """\
workers: {default: cpu-pool, train: gpu-pool}
worker_wait_seconds: 60
timeout_seconds: {default: 10, train: 20.5}
retries: {max: 0, delay_seconds: 0.5}
keep_days: {cache: 30, resume: 30, clones: 1}
"""


def written(folder: Path, text: str) -> Path:
    (folder / "settings.yaml").write_text(text)
    return folder / "settings.yaml"


def test_the_shipped_settings_can_be_read() -> None:
    shipped = settings.load()
    assert shipped.pool("train@gru") == "gpu-pool"
    assert shipped.pool("evaluate@gru") == "cpu-pool"
    assert shipped.timeout("train@gru") > shipped.timeout("generate") > 0


def test_a_group_stands_for_all_its_stages_and_the_default_for_all_others(tmp_path: Path) -> None:
    read = settings.load(written(tmp_path, GOOD))
    assert [read.pool(stage) for stage in ("train", "train@rnn", "trainer", "generate")] == [
        "gpu-pool",
        "gpu-pool",
        "cpu-pool",
        "cpu-pool",
    ]
    assert [read.timeout(stage) for stage in ("train@rnn", "generate")] == [20.5, 10]


def test_settings_cannot_be_changed_while_a_run_goes_on(tmp_path: Path) -> None:
    read = settings.load(written(tmp_path, GOOD))
    with pytest.raises(ValidationError, match="frozen"):
        read.worker_wait_seconds = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("delay_seconds: 0.5", "delay_seconds: 0", "retries.delay_seconds: input should be greater than 0, got 0"),
        ("max: 0", "max: -1", "retries.max: input should be greater than or equal to 0, got -1"),
        ("train: 20.5", "train: long", "timeout_seconds.train: input should be a valid number.*, got 'long'"),
        ("worker_wait_seconds", "worker_wait", "worker_wait: unknown parameter; did you mean 'worker_wait_seconds'"),
        ("max: 0", "max: 0, min: 0", "retries.min: unknown parameter; expected one of max, delay_seconds"),
        ("worker_wait", "start_seconds: 9\nworker_wait", "start_seconds: input should be greater than or equal to 10"),
        (
            "worker_wait",
            "project: my_project\nworker_wait",
            "project: expected .*, with single '-' between, got 'my_project'$",
        ),
        (
            "worker_wait",
            "notify: [{block: team, of: [failed]}]\nworker_wait",
            "block: expected .*slack-webhook/team, got 'team'$",
        ),
        ("default: cpu-pool, ", "", "workers: expected an entry 'default'$"),
        ("default: 10, ", "", "timeout_seconds: expected an entry 'default'$"),
        ("retries: {", "retries: {{", "settings.yaml: line 5: not valid YAML"),
        ("worker_wait", "parallel: 0\nworker_wait", "parallel: expected auto or a whole number from 1 on, got 0$"),
        (
            "worker_wait",
            "parallel: many\nworker_wait",
            "parallel: expected auto or a whole number from 1 on, got 'many'$",
        ),
        (GOOD, "", "expected names with values, got None"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(InputError, match=message) as raised:
        settings.load(written(tmp_path, GOOD.replace(old, new)))
    assert str(raised.value).startswith("settings.yaml: ")
    assert "\n" not in str(raised.value)
