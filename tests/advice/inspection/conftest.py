from collections.abc import Callable
from pathlib import Path

import pytest

from rnnflow.cli import main


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "raw"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def inspected(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*arguments: object) -> str:
        """Return what the command prints; it must end well."""
        capsys.readouterr()
        main(["inspect", *map(str, arguments)])
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    def run(*arguments: object) -> tuple[str, str]:
        """Return what the command prints, and the one line that it ends with."""
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main(["inspect", *map(str, arguments)])
        assert exit_.value.code == 2
        captured = capsys.readouterr()
        (line,) = captured.err.splitlines()
        assert line.startswith("error: ")
        return captured.out, line

    return run
