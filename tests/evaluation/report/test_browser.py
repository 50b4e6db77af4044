"""The page in a real browser, where Debian's is installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium")
MEASURES = """
<style>html { width: 360px }</style>
<script>
const scrolls = element => element.closest(".scroll > table, .recipes");
const shown = [...document.querySelectorAll("main *")].filter(element => !scrolls(element) && !element.closest("svg *"));
document.documentElement.dataset.right = Math.ceil(Math.max(...shown.map(element => element.getBoundingClientRect().right)));
</script>
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"),
]


def browse(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    return subprocess.run([*command, profile, *options, page.as_uri()], capture_output=True, text=True, check=True)


def test_the_console_stays_empty_and_every_chart_is_there(folder: Path) -> None:
    """The page's own security policy forbids requests and scripts; the browser would report an attempt."""
    done = browse(folder / "report.html", "--dump-dom")
    assert "CONSOLE" not in done.stderr
    assert done.stdout.count("<svg ") == (folder / "report.html").read_text().count("<svg ") > 10


def test_nothing_is_wider_than_a_phone(folder: Path) -> None:
    page = folder / "measured.html"
    text = (folder / "report.html").read_text()
    page.write_text(re.sub("<meta http-equiv.*?>", "", text).replace("</body>", f"{MEASURES}</body>"))
    found = re.search(r'data-right="(\d+)"', browse(page, "--dump-dom").stdout)
    assert found
    assert int(found[1]) <= 360


def test_it_prints_on_a4(folder: Path) -> None:
    printed = folder / "report.pdf"
    browse(folder / "report.html", "--no-pdf-header-footer", f"--print-to-pdf={printed}")
    boxes = set(re.findall(rb"/MediaBox ?\[([\d. ]+)\]", printed.read_bytes()))
    assert [round(float(edge)) for edge in boxes.pop().split()] == [0, 0, 595, 842]
    assert not boxes
