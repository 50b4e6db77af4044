"""Git as the flow uses it: the command, and its refusals as one line."""

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from flows.redaction import redacted
from flows.supervision.dvc import Failure, StageError
from rnnflow.runtime.errors import InputError

QUIET = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
"""Nobody sits at a scheduled run to type a password, and messages are searched for English words."""

_TRANSIENT = re.compile(
    r"timed out|failed to connect|could(?: not|n't) connect|connection (?:refused|reset|aborted|lost|closed)|"
    r"broken pipe|network is unreachable|no route to host|name or service not known|name resolution|"
    r"could not resolve host|returned error: (?:429|50[0-9])|operation too slow|"
    r"\((?:fetch first|non-fast-forward)\)|cannot lock ref",  # somebody else has pushed at the same time
    re.IGNORECASE,
)
"""By words: Git ends with status 128 whatever the reason, and what ssh, curl or the other side said is all there is."""
MAX_SECONDS = 1800.0
"""Of one command, however it gets on; the flow's runs are dropped as long as one hangs."""
SILENCE_SECONDS = 60
"""Without data from the other side a command over HTTP ends earlier."""
_PATIENCE = {
    "GIT_HTTP_LOW_SPEED_LIMIT": "1",
    "GIT_HTTP_LOW_SPEED_TIME": str(SILENCE_SECONDS),
}
"""Where the machine's own environment says otherwise, that holds."""

_CHATTER = ("hint:", "warning:", "To ", "From ")


def git(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Return what `git` prints in `folder`.

    Raises:
        StageError: the network or the other side may be there again later.
        InputError: Git refuses.
    """
    name = f"git {arguments[0]}"
    try:
        status, output, errors = _run(
            ["git", *arguments], folder, {**_PATIENCE, **os.environ, **QUIET, **(environment or {})}
        )
    except subprocess.TimeoutExpired:
        message = f"{name}: has not ended within {MAX_SECONDS:g} s; the other side may be silent"
        raise StageError(name, Failure.TRANSIENT, message) from None
    if status:
        message = redacted(f"{name}: {_reason(errors)}")
        if _TRANSIENT.search(message):
            raise StageError(name, Failure.TRANSIENT, message)
        raise InputError(message)
    return output.strip()


def _run(command: list[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, str, str]:
    """Return exit status and output; when it takes too long or is interrupted, it ends with all it has started."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=MAX_SECONDS)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # Git's helper for HTTP or SSH would hold the pipes open
            raise
    return process.returncode, output, errors


def _reason(printed: str) -> str:
    """Return Git's own line, after the first of whoever spoke before it: ssh, or a hook of the other side."""
    lines = [line.strip() for line in printed.splitlines() if line.strip() and not line.startswith(_CHATTER)] or [""]
    own = next((line for line in lines if line.startswith(("fatal:", "error:", "!"))), lines[0])
    return "; ".join(line.removeprefix("fatal: ") for line in dict.fromkeys((lines[0], own)))


def commit_id(folder: Path, revision: str) -> str | None:
    """Return the hash of the commit that a branch of `origin`, a tag or a hash names, or None."""
    for name in (f"refs/remotes/origin/{revision}", revision):
        try:
            return git(folder, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        except InputError:
            continue
    return None


def author(folder: Path) -> dict[str, str]:
    """Return the environment for a commit: the machine's own identity, or rnnflow's where it has none."""
    try:
        git(folder, "var", "GIT_COMMITTER_IDENT")
    except InputError:
        names = ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME")
        emails = ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL")
        return dict.fromkeys(names, "rnnflow") | dict.fromkeys(emails, "rnnflow@localhost")
    return {}
