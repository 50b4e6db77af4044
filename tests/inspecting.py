"""What `rnnflow inspect` prints, and what stage generate makes with it."""

import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from ruamel.yaml import YAML

from rnnflow.params.generate import GenerateParams
from stages.generate import generate


def section(output: str) -> dict[str, Any]:
    """Return the printed section as params.yaml would be read."""
    (text,) = re.findall(r"^generate:\n(?:  .*\n)+", output, re.MULTILINE)
    return YAML(typ="safe").load(text)["generate"]


def generated(content: dict[str, Any], raw: Path, target: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the sequences of each split that stage generate makes with the section."""
    generate(GenerateParams.model_validate(content), raw, target / "sequences", {}, target / "report")
    return {
        folder.name: [row for file in folder.glob("*.parquet") for row in pq.read_table(file).to_pylist()]
        for folder in (target / "sequences").iterdir()
    }


def promised(output: str) -> dict[str, int]:
    line = next(line for line in output.splitlines() if line.startswith("would be"))
    return {name: int(count.replace(",", "")) for name, count in re.findall(r"(\w+) ([\d,]+\d|\d)", line[8:])}
