"""The units of docs/systemd, as far as they can be tried without an init system."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from flows.server.pools import POOLS
from rnnflow.runtime.provenance import ROOT

UNITS = sorted((ROOT / "docs/systemd").glob("*.service"))
PROJECT = "/opt/rnnflow"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not on the path")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path, tmp_path: Path) -> None:
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    for name in ("prefect", "python"):
        (programs / name).symlink_to("/bin/true")
    installed = tmp_path / unit.name.replace("@", "@0")
    installed.write_text(unit.read_text().replace(PROJECT, str(tmp_path)))
    done = subprocess.run(["systemd-analyze", "verify", str(installed)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_units_start_in_the_folder_of_prefects_settings_and_read_their_environment() -> None:
    assert (ROOT / "prefect.toml").is_file()
    for unit in UNITS:
        text = unit.read_text()
        assert f"WorkingDirectory={PROJECT}\n" in text
        (file,) = re.findall(r"EnvironmentFile=/etc/rnnflow/(.*)", text)
        assert (ROOT / "docs/systemd" / file).is_file()


def test_each_pool_has_a_unit_whose_runs_outlive_the_worker_and_end_in_their_own_time() -> None:
    texts = [unit.read_text() for unit in UNITS]
    for pool in POOLS:
        (text,) = [text for text in texts if f"--pool {pool.full_name('rnnflow')} " in text]
        assert "KillMode=process\n" in text
        assert "OOMPolicy=continue\n" in text
