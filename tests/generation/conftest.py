from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnflow.runtime.atomic_writes import write_json
from stages.generate import main
from tests.toys import write_params


@pytest.fixture
def refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the stage on `tmp_path / "raw"` and return its message, without the folder's name."""

    (tmp_path / "raw").mkdir()

    def run(**settings: Any) -> str:
        write_params(tmp_path, generate={"source": "files", **settings})
        write_json(tmp_path / "reference.json", {})
        names = {"params": "params.yaml", "raw": "raw", "reference": "reference.json", "output": "out", "report": "rep"}
        with pytest.raises(SystemExit) as ending:
            main([part for option, name in names.items() for part in (f"--{option}", str(tmp_path / name))])
        assert ending.value.code == 2
        assert not list(tmp_path.glob("out/*"))
        assert not (tmp_path / "rep").exists()
        output, message = capsys.readouterr()
        assert output == ""
        assert message.startswith("error: ")
        assert message.count("\n") == 1
        return message.removeprefix("error: ").rstrip("\n").replace(f"{tmp_path}/", "")

    return run
