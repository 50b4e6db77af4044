"""The commands of README.md and docs/, typed in order as they stand there: a clone, a DVC remote, a server, a worker.

A block whose fence is not just ```` ```sh ```` says how it is run: `one shell a line` for what goes on until it is stopped,
and `elsewhere: REASON` for what cannot run here or has a test of its own. docs/data.md has one: test_deliveries.py.
"""

import random
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from ruamel.yaml import YAML

from rnnflow.runtime.provenance import ROOT
from tests.flows.services import Background, clean_environment, free_port, wait_until
from tests.pipeline.conftest import Clone

BLOCK = re.compile(r"^```(sh|python)\b(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TYPED = ("README.md", "models.md", "streaming.md", "schedule.md", "troubleshooting.md")
"""In this order: each page finds what those before it have made."""
HAS_ITS_OWN_TEST = "data.md"
GOES_ON = "started!"
"""What a worker prints when it is ready; of a server the page opens."""
STARTED = {"retrain main first run": "nothing new to publish", "retrain main a wider GRU": "published as auto/"}
"""Runs of the worker, and what their last lines hold; the first comes after the reader has trained and pushed."""
SECONDS = 900.0
"""For one block, on a machine that is busy with other tests."""


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Return of each block its language, how it is to be run, and its commands."""
    return [(match[1], match[2].strip(), match[3]) for match in BLOCK.finditer(page.read_text())]


class Reader:
    """Somebody who types what stands on a page.

    Args:
        folder: where they are.
        environment: of their shells.
        port: of their server, instead of 4200.
        stand_ins: by what a page says, what is meant here.
        stack: ends what goes on.
    """

    def __init__(
        self, folder: Path, environment: dict[str, str], port: int, stand_ins: dict[str, str], stack: ExitStack
    ) -> None:
        self.folder = folder
        self.log = folder / "printed.log"
        self._environment = environment
        self.port = port
        self._stand_ins = stand_ins | {"4200": str(port)}
        self._stack = stack

    def type(self, commands: str, *program: str) -> str:
        """Return what commands print once they have ended, or say that they go on."""
        for written, meant in self._stand_ins.items():
            commands = commands.replace(written, meant)
        before = self.log.stat().st_size if self.log.exists() else 0
        typed = self._stack.enter_context(Background([*program, commands], self.log, self._environment, self.folder))

        def printed() -> str:
            return self.log.read_bytes()[before:].decode(errors="replace")

        def is_ready() -> bool:
            is_opened = commands.startswith("make server") and is_open(self.port)
            return not typed.is_running or is_opened or GOES_ON in printed()

        wait_until(is_ready, commands, SECONDS, self.log)
        assert typed.is_running or typed.process.returncode == 0, f"{commands}\n{printed()[-4000:]}"
        return printed()

    def type_block(self, kind: str, how: str, commands: str) -> str:
        if kind == "python":
            return self.type(commands, sys.executable, "-c")
        if how == "one shell a line":
            return "".join(self.type(line, "sh", "-ec") for line in commands.splitlines())
        assert not how, f"an unknown way to run a block: {how}"
        return self.type(commands, "sh", "-ec")

    def type_page(self, page: Path) -> None:
        """Type all that is not for elsewhere, with what a person does beside it."""
        for kind, how, commands in blocks(page):
            if how.startswith("elsewhere"):
                continue
            printed = self.type_block(kind, how, commands)
            if commands.startswith("git clone"):
                self.folder /= "rnnflow"
                write_files(self.folder / "data/raw/june", "label")
                write_files(self.folder / "new")
            if commands.startswith("rnnflow inspect"):
                paste(self.folder / "params.yaml", printed.partition("For params.yaml:")[2])


def is_open(port: int) -> bool:
    with socket.socket() as browser:
        return browser.connect_ex(("127.0.0.1", port)) == 0


def write_files(folder: Path, *more: str) -> None:
    """Write 120 recordings of ten steps whose mean tells their class."""
    folder.mkdir(parents=True)
    moments = random.Random(0)
    with (folder / "a.csv").open("w") as file:
        print("id", "value", *more, sep=",", file=file)
        for number in range(1200):
            kind = number // 10 % 2
            print(f"r{number // 10}", moments.gauss(2 * kind - 1), *[f"kind {kind}" for _ in more], sep=",", file=file)


def paste(params: Path, section: str) -> None:
    yaml = YAML()
    content = yaml.load(params)
    content["generate"] |= YAML(typ="safe").load(section)["generate"]
    yaml.dump(content, params)


@pytest.fixture(scope="module")
def reader(origin: Clone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Before the first line of the README: a repository to clone, and a machine that has nothing but the packages."""
    folder, port = tmp_path_factory.mktemp("reader"), free_port()
    author = origin.clone(folder / "author")
    yaml = YAML()
    params = yaml.load(author.folder / "params.yaml")
    params["models"] = {"gru": params["models"]["gru"]}  # the one that the pages name
    yaml.dump(params, author.folder / "params.yaml")
    pipeline = yaml.load(author.folder / "dvc.yaml")
    del pipeline["stages"]["report"]  # seconds for each of the runs
    yaml.dump(pipeline, author.folder / "dvc.yaml")
    with (author.folder / "prefect.toml").open("a") as settings:
        settings.write(f"\n[server.api]\nport = {port}\n")
    makefile = author.folder / "Makefile"
    makefile.write_text(makefile.read_text().replace("4200", str(port)))
    author.run("git", "-c", "user.name=author", "-c", "user.email=author@example.com", "commit", "-qam", "small")
    author.run("git", "clone", "--quiet", "--bare", ".", str(folder / "hub/rnnflow.git"))
    environment = clean_environment() | {
        **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "reader"),
        **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "reader@example.com"),
        "PREFECT_HOME": str(folder / "prefect"),
        "RNNFLOW_STATE": str(folder / "state"),
        "PYTEST_ADDOPTS": "tests/params/test_section.py",  # `make test` would come back to this test
    }
    stand_ins = {
        "<this repository>": str(folder / "hub/rnnflow.git"),
        "&& cd rnnflow": f"&& cd rnnflow && mkdir .venv && ln -s {sys.prefix}/* .venv"
        " && touch .venv/.installed",  # as far as that has been done before
        "/srv/rnnflow": str(folder / "store"),
    }
    with ExitStack() as stack:
        yield Reader(folder, environment, port, stand_ins, stack)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_cannot_run_here_says_why(page: Path) -> None:
    for _, how, commands in blocks(page):
        reason = how.partition("elsewhere: ")[2]
        is_typed = page.name in TYPED and not how.startswith("elsewhere")
        assert reason or is_typed or page.name == HAS_ITS_OWN_TEST, (
            f"{page.name}: is not run, and does not say why: {commands}"
        )


@pytest.mark.endurance
def test_the_commands_of_the_pages_work_in_order_as_written(reader: Reader) -> None:
    pages = {page.name: page for page in PAGES}
    for name in TYPED:
        reader.type_page(pages[name])

    def ended() -> dict[str, str]:
        with SyncPrefectClient(f"http://127.0.0.1:{reader.port}/api") as client:
            runs = client.read_flow_runs()
        return {run.name: run.state.message or "" for run in runs if run.state and run.state.is_completed()}

    wait_until(lambda: ended().keys() >= set(STARTED), "the runs that the pages start", SECONDS, reader.log)
    for run, said in STARTED.items():
        assert said in ended()[run]
