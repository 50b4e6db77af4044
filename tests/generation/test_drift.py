import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from rnnflow.generation.content_hash import ContentHash
from rnnflow.generation.drift import Profile, differences, load_reference
from rnnflow.params.generate import DriftParams, GenerateParams
from rnnflow.runtime.errors import InputError
from stages.generate import generate
from tests.deliveries import table
from tests.recordings import Recording, recordings, write_long


def profile(*tables: pa.Table, features: tuple[str, ...] = ("f0", "f1")) -> Profile:
    found = Profile(features)
    for part in tables:
        found.add(part)
    return found


def sequences(scale: float = 1.0, shift: float = 0.0, count: int = 60, length: int = 5) -> pa.Table:
    rng = np.random.default_rng(count + length)
    values = [(shift + scale * rng.standard_normal((length, 2))).astype(np.float32) for _ in range(count)]
    return table(values, [("a", "b")[index % 2] for index in range(count)])


def found(new: pa.Table, **bounds: Any) -> list[str]:
    reference = profile(sequences()).content() | {"files": {}}
    return differences(profile(new), reference, DriftParams(**bounds))


def test_a_profile_says_what_the_sequences_look_like() -> None:
    values = np.array([[1, np.nan], [3, 10], [5, 20]], np.float32)
    content = profile(table([values, values[:1]], ["a", "b"])).content()
    assert content["sequences"] == 2
    assert content["lengths"] == {"shortest": 1, "longest": 3, "steps": 4}
    assert content["class_shares"] == {"a": 0.5, "b": 0.5}
    first, second = content["features"]["f0"], content["features"]["f1"]
    assert first == {
        "min": 1,
        "max": 5,
        "mean": 2.5,
        "std": pytest.approx(np.std([1, 3, 5, 1])),
        "missing_share": 0,
    }
    assert (second["min"], second["max"], second["mean"], second["missing_share"]) == (10, 20, 15, 0.5)


def test_profiles_of_parts_make_the_profile_of_the_whole() -> None:
    first, second = sequences(), sequences(3.0, 1.0, count=31, length=8)
    parts = profile(first)
    parts.merge(profile(second))
    whole = profile(first, second).content()
    merged = parts.content()
    for name in ("f0", "f1"):
        assert merged["features"].pop(name) == pytest.approx(whole["features"].pop(name))
    assert merged == whole


def test_the_same_kind_of_data_is_no_drift() -> None:
    assert found(sequences(count=40)) == []


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (sequences(scale=4), "feature 'f0': range "),
        (sequences(shift=3), "feature 'f0': mean "),
        (sequences(length=11), "lengths: 11 to 11 steps, were 5 to 5"),
        (sequences(length=2), "lengths: 2 to 2 steps, were 5 to 5"),
        (table([np.zeros((5, 2), np.float32)] * 40, ["a"] * 40), "class 'a': share 1.000, was 0.500"),
        (table([np.zeros((5, 2), np.float32)] * 40, ["a", "c"] * 20), "class 'c': was not there"),
        (table([np.full((5, 2), np.nan, np.float32)] * 40, ["a", "b"] * 20), "feature 'f0': share of missing values 1.000, was 0.000"),
    ],
)  # fmt: skip
def test_what_lies_outside_the_bounds_is_named(new: pa.Table, expected: str) -> None:
    assert any(line.startswith(expected) for line in found(new))


def test_wider_bounds_let_more_pass() -> None:
    assert found(sequences(scale=4, shift=3))
    assert found(sequences(scale=4, shift=3), range=3.0, mean=5.0) == []


def test_other_features_are_named() -> None:
    reference = profile(sequences()).content() | {"files": {}}
    other = profile(sequences(), features=("f0", "g"))
    assert differences(other, reference, DriftParams()) == ["features are f0, g, were f0, f1"]


def generated(
    folder: Path, entries: dict[str, list[Recording]], reference: dict[str, Any], action: str
) -> dict[str, Any]:
    for name, recorded in entries.items():
        write_long(folder / "raw" / f"{name}.csv", recorded)
    wanted = GenerateParams.model_validate({"source": "files", "drift": {"action": action}})
    generate(wanted, folder / "raw", folder / "sequences", reference, folder / "report")
    return {name: json.loads((folder / "report" / f"{name}.json").read_text()) for name in ("profile", "drift")}


def odd(count: int = 60) -> list[Recording]:
    return [(name, label, values + 100) for name, label, values in recordings(count, prefix="odd")]


def test_new_files_are_compared_with_the_accepted_profile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = generated(tmp_path, {"june": recordings(60)}, {}, "fail")
    assert first["profile"]["files"] == {"june.csv": 60}
    accepted = first["profile"]
    assert generated(tmp_path, {"july": recordings(60, prefix="j")}, accepted, "fail")["drift"]["differences"] == []
    warned = generated(tmp_path, {"august": odd()}, accepted, "warn")
    assert [line[:18] for line in warned["drift"]["differences"]] == ["feature 'x': range", "feature 'x': mean ", "feature 'y': range", "feature 'y': mean "]  # fmt: skip
    assert "drift: feature 'x': range" in capsys.readouterr().err
    with pytest.raises(
        InputError, match=r"^drift: new files lie outside generate\.drift: feature 'x': range .* \(and 3 more\)"
    ):
        generated(tmp_path, {}, accepted, "fail")
    assert generated(tmp_path, {}, accepted, "off")["drift"]["differences"] == []
    assert generated(tmp_path, {}, warned["profile"], "fail")["drift"]["differences"] == []


def test_a_known_file_that_has_grown_is_new(tmp_path: Path) -> None:
    accepted = generated(tmp_path, {"june": recordings(60)}, {}, "fail")["profile"]
    with pytest.raises(InputError, match="drift: new files lie outside"):
        generated(tmp_path, {"june": [*recordings(60), *odd(20)]}, accepted, "fail")


def test_a_known_file_whose_content_was_replaced_is_new_and_the_same_content_is_not(tmp_path: Path) -> None:
    accepted = generated(tmp_path, {"june": recordings(60)}, {}, "fail")["profile"]
    assert generated(tmp_path, {"june": recordings(60)}, accepted, "fail")["drift"]["differences"] == []
    with pytest.raises(InputError, match="drift: new files lie outside"):
        generated(tmp_path, {"june": odd(60)}, accepted, "fail")


@pytest.mark.parametrize("cut", [1, 17, 59])
def test_the_hash_of_a_content_does_not_depend_on_where_its_tables_end(cut: int) -> None:
    whole, parts = ContentHash(), ContentHash()
    whole.add(sequences())
    parts.add(sequences().slice(0, cut))
    parts.add(sequences().slice(cut))
    assert parts.hexdigest() == whole.hexdigest()
    other = ContentHash()
    other.add(sequences(shift=1e-6))
    assert other.hexdigest() != whole.hexdigest()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"sequences": 3}', '{"features": {"x": {}}, "lengths": {}, "class_shares": {}, "files": {}}']
)
def test_a_reference_that_is_no_profile_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "reference.json").write_text(text)
    with pytest.raises(InputError, match=r"reference\.json: expected a profile"):
        load_reference(tmp_path / "reference.json")
