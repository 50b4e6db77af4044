"""Files of JSON with a checksum: a flipped bit of any one that a stage reads is found."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import versions
from rnnflow.evaluation.comparison import challenge
from rnnflow.evaluation.report.results import ModelResults
from rnnflow.generation import drift
from rnnflow.runtime import json_text
from rnnflow.runtime.errors import InputError
from stages import export, train
from tests import toys
from tests.faults.fuzz.own_files import VERDICT
from tests.faults.fuzz.targets import PROFILE

CALIBRATION = toys.CALIBRATION | {"tables": {}}


def of_evaluation(folder: Path, name: str) -> tuple[Path, Callable[[], object]]:
    toys.write_evaluation(folder, CALIBRATION)

    def read() -> object:
        ModelResults("toy", folder / "model.onnx", folder).require_intact()
        return export._read_evaluation(folder / "metrics.json", folder / "calibration.json")

    return folder / f"{name}.json", read


def sealed(path: Path, content: dict[str, Any], read: Callable[[Path], object]) -> tuple[Path, Callable[[], object]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(json_text.sealed(content), indent=2))
    return path, lambda: read(path)


FILES: dict[str, Callable[[Path], tuple[Path, Callable[[], object]]]] = {
    "profile": lambda folder: sealed(folder / "profile.json", PROFILE, train._profile),
    "reference": lambda folder: sealed(folder / "reference.json", PROFILE, drift.load_reference),
    "metrics": lambda folder: of_evaluation(folder, "metrics"),
    "calibration": lambda folder: of_evaluation(folder, "calibration"),
    "verdict": lambda folder: sealed(folder / versions.VERDICT, VERDICT, lambda _: versions.read_verdict(folder)),
    "promotion": lambda folder: sealed(
        folder / "promotion.json", {"test_md5": "0" * 32, challenge.IDS_MD5: "1" * 32}, challenge._promotion
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_in_any_byte_of_a_file_with_a_checksum_is_refused_or_says_the_same(
    name: str, tmp_path: Path
) -> None:
    path, read = FILES[name](tmp_path)
    content, expected = path.read_bytes(), json.dumps(read())
    lost = []
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            if json.dumps(read()) != expected:
                lost.append(bytes(flipped))
        except InputError:
            continue
    assert lost == []


@pytest.mark.parametrize("content", [{}, PROFILE | {"sha256": None}], ids=["none", "by hand"])
def test_a_reference_may_be_empty_or_written_by_hand(content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "reference.json").write_text(json.dumps(content))
    assert drift.load_reference(tmp_path / "reference.json") == (PROFILE if content else {})


def test_a_reference_without_a_checksum_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "reference.json").write_text(json.dumps(PROFILE))
    with pytest.raises(InputError, match=r'before it had one, says "sha256": null'):
        drift.load_reference(tmp_path / "reference.json")


def test_a_promotion_of_before_there_were_checksums_is_read(tmp_path: Path) -> None:
    (tmp_path / "promotion.json").write_text('{"test_md5": "0"}')
    assert challenge._promotion(tmp_path / "promotion.json") == {"test_md5": "0"}
