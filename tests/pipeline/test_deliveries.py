"""The walk-through of docs/data.md, typed as it stands there: a real clone, a real remote, real scans of digits."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from rnnflow.generation.splitting import SPLITS
from rnnflow.runtime.provenance import ROOT, file_md5
from tests.pipeline.conftest import Clone

pytestmark = pytest.mark.slow

FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
DVC_FAILED = 255


class Stored(NamedTuple):
    """An object of the remote."""

    changed: int
    size: int
    is_parquet: bool


@dataclass(frozen=True)
class Moment:
    """What was there after a block of commands."""

    commands: str
    printed: str
    pasted: str
    """The YAML that stands between these commands and the next."""
    shown: str
    """What the walk-through says that they print."""
    files: Mapping[str, str]
    """The md5 of each file of data set, models and reports."""
    sides: Mapping[str, str]
    """The split of each sequence."""
    listed: Mapping[str, list[str]]
    """The md5 of each split's files, as the `.dir` lists them that dvc.lock names."""
    remote: Mapping[str, Stored]

    @property
    def shards(self) -> set[str]:
        return {md5 for entries in self.listed.values() for md5 in entries}


Walk = Callable[[str], Moment]
"""The moment after the first block of commands that has these words."""


@pytest.fixture(scope="module")
def clone(fresh_clone: Callable[[], Clone]) -> Clone:
    clone = fresh_clone()
    yaml = YAML()
    content = yaml.load(clone.folder / "params.yaml")
    content["models"] = {"gru": content["models"]["gru"] | {"hidden_size": 8}}
    yaml.dump(content, clone.folder / "params.yaml")
    return clone


@pytest.fixture(scope="module")
def moments(clone: Clone) -> list[Moment]:
    blocks = [(match[1], match[2]) for match in FENCE.finditer((ROOT / "docs/data.md").read_text())]
    expected = {"sh": 0, "sh refused": DVC_FAILED}
    typed = [index for index, (kind, _) in enumerate(blocks) if kind in expected]
    found = []
    for index, following in zip(typed, [*typed[1:], len(blocks)], strict=True):
        kind, commands = blocks[index]
        printed = clone.run("sh", "-ec", commands, expected=expected[kind])
        said = dict(blocks[index + 1 : following])
        pasted, shown = said.get("yaml", ""), said.get("text", "")
        state = files(clone), sides(clone), listed(clone), remote(clone)
        found.append(Moment(commands, printed, pasted, shown, *state))
        paste(clone, pasted)
    return found


@pytest.fixture(scope="module")
def after(moments: list[Moment]) -> Walk:
    return lambda command: next(moment for moment in moments if command in moment.commands)


def files(clone: Clone) -> dict[str, str]:
    folders = [clone.folder / name for name in ("data/sequences", "models", "reports")]
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(clone.folder).as_posix(): file_md5(path) for path in paths}


def sides(clone: Clone) -> dict[str, str]:
    return {
        name: split
        for split in SPLITS
        for path in (clone.folder / "data/sequences" / split).glob("*.parquet")
        for name in pq.read_table(path)["id"].to_pylist()
    }


def listed(clone: Clone) -> dict[str, list[str]]:
    lock = clone.folder / "dvc.lock"
    stages = YAML(typ="safe").load(lock)["stages"] if lock.exists() else {}
    outs = {out["path"]: out["md5"] for out in stages.get("generate", {"outs": []})["outs"]}
    found = {}
    for split in SPLITS:
        if md5 := outs.get(f"data/sequences/{split}"):
            entries = json.loads(clone.read(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"))
            found[split] = [entry["md5"] for entry in entries]
    return found


def remote(clone: Clone) -> dict[str, Stored]:
    found = {}
    for path in filter(Path.is_file, (clone.folder.parent / "store/files/md5").rglob("*")):
        with path.open("rb") as file:
            is_parquet = file.read(4) == b"PAR1"
        found[path.parent.name + path.name] = Stored(path.stat().st_mtime_ns, path.stat().st_size, is_parquet)
    return found


def paste(clone: Clone, section: str) -> None:
    """Change the lines of params.yaml that a section names."""

    def change(content: dict[str, Any], wanted: Mapping[str, Any]) -> None:
        for name, value in wanted.items():
            if isinstance(value, dict):
                change(content[name], value)
            else:
                content[name] = value

    yaml = YAML()
    content = yaml.load(clone.folder / "params.yaml")
    change(content, YAML(typ="safe").load(section) or {})
    yaml.dump(content, clone.folder / "params.yaml")


def test_what_the_walk_through_shows_is_what_is_printed(moments: list[Moment]) -> None:
    shown = [moment for moment in moments if moment.shown]
    assert len(shown) > 5
    for moment in shown:
        assert {*moment.shown.splitlines()} - {"…"} <= {line.rstrip() for line in moment.printed.splitlines()}


def test_inspect_ends_with_the_section_that_is_pasted(after: Walk) -> None:
    looked = after("rnnflow inspect")
    assert looked.printed.rstrip().endswith(looked.pasted.rstrip())


def test_the_second_push_moves_what_is_new_and_rewrites_nothing(after: Walk) -> None:
    june, july = after("Train on June"), after("Train on June and July")
    assert june.remote.items() <= july.remote.items()
    new = july.remote.keys() - june.remote.keys()
    assert {md5 for md5 in new if july.remote[md5].is_parquet} == july.shards - june.shards
    weeks, splits = 3, len(SPLITS)
    assert len(july.shards - june.shards) == weeks * splits
    assert june.shards <= july.shards
    assert not new & set(june.files.values())


def test_a_delivery_that_sorts_first_leaves_the_bytes_of_the_others_alone(after: Walk) -> None:
    june, july = after("dvc add data/raw/june"), after("dvc add data/raw/july")
    for split in SPLITS:
        assert july.listed[split][-3:] == june.listed[split]


def test_no_sequence_changes_splits(after: Walk) -> None:
    june, july = after("dvc add data/raw/june").sides, after("dvc add data/raw/july").sides
    imported = after("dvc update").sides
    assert [len(june), len(july), len(imported)] == [300, 600, 800]
    assert june.items() < july.items() < imported.items()


def test_to_accept_a_reference_trains_nothing_and_changes_no_byte_but_the_reports(after: Walk) -> None:
    before, compared = after("cp reports/data/profile.json").files, after("Compare new data").files
    changed = {name for name in before.keys() | compared.keys() if before.get(name) != compared.get(name)}
    assert changed == {"reports/report.html"}
    assert re.findall("Running stage '(.*)'", after("Compare new data").printed) == ["generate", "report"]


def test_a_drifted_delivery_is_refused_in_one_line_and_checkout_restores_what_was_there(after: Walk) -> None:
    before, refused, restored = (after(command) for command in ("Compare new", "august\ndvc repro", "dvc remove"))
    assert refused.printed.count("error: ") == 1
    assert "exited with 2" in refused.printed
    assert "Traceback" not in refused.printed
    assert refused.files != before.files
    assert restored.files == before.files
    assert "Running stage" not in restored.printed


def test_an_import_that_has_grown_adds_shards_only(after: Walk) -> None:
    first, grown = after("dvc import-url"), after("dvc update")
    assert first.shards < grown.shards
    assert len(grown.shards - first.shards) == len(SPLITS)
    before = after("Compare new data")
    pushed = grown.remote.keys() - before.remote.keys()
    assert {md5 for md5 in pushed if grown.remote[md5].is_parquet} == grown.shards - before.shards


def test_an_earlier_commit_brings_back_the_same_bytes(after: Walk, clone: Clone) -> None:
    june, back = after("Train on June"), after("git checkout --quiet june")
    assert back.files == june.files
    outs = YAML(typ="safe").load(clone.run("git", "show", "june:dvc.lock"))["stages"]["generate"]["outs"]
    train = next(out["md5"] for out in outs if out["path"] == "data/sequences/train")
    assert train in back.printed
    assert after("git checkout --quiet -").files == after("Compare new data").files


def test_a_new_clone_pulls_the_same_bytes(after: Walk, clone: Clone) -> None:
    assert files(Clone(clone.folder.parent / "colleague")) == after("Compare new data").files
