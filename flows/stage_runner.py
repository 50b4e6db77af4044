"""One DVC command as a supervised child process: its lines as they come, and a clean end."""

import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from flows import supervisor
from flows.transcript import Failure, Outcome, Transcript, explain

__all__ = ["Failure", "Outcome", "StageError", "run_dvc", "run_stage"]

SILENCE_SECONDS = 0.2
"""After so long without a line, look whether the supervisor is still there."""
MAX_LINE_BYTES = 65_536
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class StageError(Exception):
    """A stage, or another DVC command, failed; the message is one line, the stage's own where it left one."""

    def __init__(self, stage: str, failure: Failure, message: str) -> None:
        super().__init__(stage, failure, message)
        self.stage = stage
        self.failure = failure
        self.message = message

    def __str__(self) -> str:
        return self.message


def run_stage(
    stage: str,
    workspace: Path,
    log: Callable[[str], None],
    options: tuple[str, ...] = (),
    environment: Mapping[str, str] = {},
) -> Outcome:
    """Bring one stage up to date and return how; what it depends on must be.

    Whatever ends this call, a cancellation or a time-out of the flow included, ends the stage's processes too.

    Args:
        stage: its name in `dvc.yaml`.
        workspace: the DVC repository.
        log: receives each line that DVC and the stage print, in the calling thread.
        options: more options of `dvc repro`.
        environment: variables for DVC and the stage besides the caller's own.

    Raises:
        StageError: the stage or DVC failed.
    """
    transcript = _run(stage, ["repro", "--single-item", *options, stage], workspace, log, environment)
    return transcript.outcome


def run_dvc(
    arguments: Sequence[str], workspace: Path, log: Callable[[str], None], environment: Mapping[str, str] = {}
) -> list[str]:
    """Run another DVC command, such as `push`, as `run_stage` runs a stage, and return the lines it printed.

    Raises:
        StageError: the command failed; its `stage` is the subcommand, the first of `arguments`.
    """
    return _run(arguments[0], arguments, workspace, log, environment).before


def _run(
    name: str, arguments: Sequence[str], workspace: Path, log: Callable[[str], None], environment: Mapping[str, str]
) -> Transcript:
    # -P: neither DVC nor the supervisor takes modules from the workspace, which may hold any revision of any project.
    command = [sys.executable, "-P", "-m", "dvc", "--wait-for-lock", *arguments]
    transcript = Transcript()
    kills_before = _kills_for_memory()
    process = subprocess.Popen(
        [sys.executable, "-P", supervisor.__file__, *command],
        cwd=workspace,
        env=_environment(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        for line in _lines(process):
            transcript.add(line)
            if line:
                log(line)
    finally:
        _end(process, command)
    if process.returncode:
        raise StageError(name, *explain(process.returncode, transcript, _kills_for_memory() > kills_before))
    return transcript


def _environment(additions: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's environment, in which `python` is this interpreter, as the stages' commands expect."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1", **additions}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an uncompiled DVC starts 2.5 times as slowly
    return environment


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yield what is printed until the supervisor has ended; an orphan that holds the pipe open is not waited for."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
    reader.start()
    while process.poll() is None:
        try:
            line = lines.get(timeout=SILENCE_SECONDS)
        except queue.Empty:
            continue
        if line is None:
            return
        yield line
    reader.join(SILENCE_SECONDS)
    yield from filter(None, [lines.get() for _ in range(lines.qsize())])


def _read(pipe: IO[bytes], lines: "queue.SimpleQueue[str | None]") -> None:
    with pipe:
        for line in iter(lambda: pipe.readline(MAX_LINE_BYTES), b""):
            lines.put(_CONTROL.sub("", line.decode(errors="replace").rstrip().rpartition("\r")[2]))
    lines.put(None)


def _end(process: subprocess.Popen[bytes], command: Sequence[str]) -> None:
    """Have the supervisor end what still runs, and do so in its place where it was killed or hangs."""
    assert process.stdin is not None
    process.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(supervisor.END_SECONDS)
    supervisor.end_session(process.pid, command)
    process.wait()


def _kills_for_memory() -> int:
    """Return how often Linux has killed a process for memory since it started; 0 elsewhere."""
    with suppress(FileNotFoundError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
