"""What is made of the exceptions of the real DVC, and of stages that end in every way."""

import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from dvc.exceptions import ReproductionError
from dvc.repo import Repo
from dvc.stage.exceptions import StageCmdFailedError

from flows.supervision.dvc import Dvc, Failure, StageError
from flows.supervision.failures import LoggedError, Raised, explain
from flows.supervision.transcript import Transcript
from tests.flows.processes import LIMIT_SECONDS, supervisor_of, with_stages
from tests.flows.repositories import Repository
from tests.flows.services import wait_until

pytest_plugins = ["tests.flows.repositories"]

SECONDS_UNTIL_IT_WAITS = 2
ADVICE = "take a smaller batch size or a worker with more memory"
ENDINGS = {
    "refuses": (
        'echo "error: params.yaml: train.epochs: got connection refused" >&2; exit 2',
        Failure.PERMANENT,
        "params.yaml: train.epochs: got connection refused",
    ),
    "misused": (
        """python -c 'import argparse; argparse.ArgumentParser("train").parse_args(["--epoch"])'""",
        Failure.PERMANENT,
        "train: error: unrecognized arguments: --epoch",
    ),
    "raises": (
        r"""python -c 'raise ValueError("timed out: out of memory\nERROR: a second line") from KeyError(1)'""",
        Failure.PERMANENT,
        "ValueError: timed out: out of memory",
    ),
    "says_something": ("echo nearly done; exit 3", Failure.PERMANENT, "nearly done"),
    "says_nothing": ("exit 3", Failure.PERMANENT, "the stage ended with status 3"),
    "killed": ("echo an epoch; kill -9 $$", Failure.TRANSIENT, "the stage was killed (SIGKILL)"),
    "killed_below_a_shell": ("sh -c 'kill -15 $$'; exit $?", Failure.TRANSIENT, "the stage was killed (SIGTERM)"),
    "crashes": ("kill -11 $$", Failure.PERMANENT, "the stage crashed (SIGSEGV)"),
    "short_of_memory": ("python -c 'bytearray(10**18)'", Failure.OUT_OF_MEMORY, f"MemoryError; {ADVICE}"),
    "forgets_its_output": (
        "echo 'ERROR: Connection refused'",
        Failure.PERMANENT,
        "output 'forgets_its_output.txt' does not exist",
    ),
}


@pytest.fixture(scope="module")
def endings(repository_template: Repository, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dvc]:
    folder = tmp_path_factory.mktemp("endings") / "repository"
    shutil.copytree(repository_template.folder, folder, symlinks=True)
    with Dvc(with_stages(Repository(folder), **{name: command for name, (command, _, _) in ENDINGS.items()})) as dvc:
        yield dvc


def failure_of(run: Callable[[], object]) -> StageError:
    with pytest.raises(StageError) as caught:
        run()
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("stage", ENDINGS)
def test_a_stage_fails_with_its_own_line(endings: Dvc, stage: str) -> None:
    _, failure, message = ENDINGS[stage]
    error = failure_of(lambda: endings.reproduce(stage, print))
    assert (error.stage, error.failure) == (stage, failure)
    assert str(error).endswith(message)
    assert not str(error).startswith(("error: ", "ERROR: "))


@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB",
        "RuntimeError: CUDA error: out of memory",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 72.8 TiB for an array with shape (10000000000000,)",
        "pyarrow.lib.ArrowMemoryError: malloc of size 100000000000 failed",
    ],
)
def test_libraries_say_in_words_of_their_own_that_memory_is_short(line: str) -> None:
    transcript = Transcript()
    for printed in ("Running stage 'train':", "> train", "Traceback (most recent call last):", "  File", line):
        transcript.add(printed)
    transcript.add("ERROR: failed to reproduce 'train': failed to run: train, exited with 1")
    assert explain(255, transcript, stage_failed(1), False) == (Failure.OUT_OF_MEMORY, f"{line}; {ADVICE}")


def stage_failed(status: int) -> list[LoggedError]:
    """Return what DVC logs when the command `train` has ended with a status."""
    raised = [StageCmdFailedError("train", status), ReproductionError("failed to reproduce 'train'")]
    return [LoggedError("", tuple(Raised(frozenset({type(error).__name__}), str(error)) for error in raised))]


def test_a_kill_for_want_of_memory_is_told_from_others() -> None:
    transcript = Transcript()
    transcript.add("Running stage 'train':")
    transcript.add("ERROR: failed to reproduce 'train': failed to run: train, exited with -9")
    assert explain(255, transcript, stage_failed(-9), True)[0] is Failure.OUT_OF_MEMORY
    assert explain(255, transcript, stage_failed(-9), False)[0] is Failure.TRANSIENT


def test_a_missing_dependency_is_permanent(repository: Repository, dvc: Dvc) -> None:
    repository.replace("dvc.yaml", "data/raw", "data/elsewhere")
    error = failure_of(lambda: dvc.reproduce("collect", print))
    assert error.failure is Failure.PERMANENT
    assert str(error).endswith("data/elsewhere'")


def test_a_dvc_yaml_that_cannot_be_read_is_permanent_and_named(repository: Repository, dvc: Dvc) -> None:
    repository.replace("dvc.yaml", "- data/raw", "- [data/raw]")
    error = failure_of(lambda: dvc.reproduce("collect", print))
    assert error.failure is Failure.PERMANENT
    assert str(error).startswith("'./dvc.yaml' validation failed: expected str @ data['stages']['collect']['deps'][1]")


def test_files_that_another_dvc_works_on_are_transient(repository: Repository, dvc: Dvc) -> None:
    repository.write("data/raw/second.txt", "3\n")
    holder = {str(repository.folder / "data/numbers.txt"): {"pid": os.getpid(), "cmd": "dvc repro"}}
    repository.write(".dvc/tmp/rwlock", json.dumps({"write": holder, "read": {}}))
    error = failure_of(lambda: dvc.reproduce("collect", print))
    assert error.failure is Failure.TRANSIENT
    assert f"data/numbers.txt' is busy, it is being blocked by: (PID {os.getpid()}): dvc repro" in str(error)


@pytest.fixture
def answering(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a web server that answers everything with one status."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:  # DVC asks what is there before it sends anything
            self.send_error(request.param)

        def do_POST(self) -> None:
            self.send_error(request.param)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/store"
        server.shutdown()


def push_to(repository: Repository, dvc: Dvc, url: str) -> StageError:
    repository.replace(".dvc/config", str(repository.store), url)
    error = failure_of(lambda: dvc.run(["push", "--run-cache"], print))
    assert error.stage == "push"
    return error


def test_a_remote_that_cannot_be_reached_is_transient(repository: Repository, dvc: Dvc) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    error = push_to(repository, dvc, f"ssh://somebody@127.0.0.1:{port}/store")
    assert error.failure is Failure.TRANSIENT
    assert str(error).endswith(f"Connect call failed ('127.0.0.1', {port})")


@pytest.mark.parametrize("answering", [503], indirect=True)
def test_a_remote_that_is_busy_is_transient(repository: Repository, dvc: Dvc, answering: str) -> None:
    assert push_to(repository, dvc, answering).failure is Failure.TRANSIENT


@pytest.mark.parametrize("answering", [403], indirect=True)
def test_a_remote_that_refuses_is_permanent(repository: Repository, dvc: Dvc, answering: str) -> None:
    error = push_to(repository, dvc, answering)
    assert error.failure is Failure.PERMANENT
    assert "Forbidden" in str(error)


def test_a_remote_that_is_no_folder_is_permanent(repository: Repository, dvc: Dvc) -> None:
    error = push_to(repository, dvc, str(repository.folder / "params.yaml/store"))
    assert error.failure is Failure.PERMANENT
    assert str(error).startswith("[Errno 20] Not a directory: ")


def test_no_remote_is_permanent_and_says_what_to_do(repository: Repository, dvc: Dvc) -> None:
    repository.write(".dvc/config", "")
    error = failure_of(lambda: dvc.run(["push"], print))
    assert error.failure is Failure.PERMANENT
    assert "no remote specified" in str(error)
    assert str(error).endswith("dvc remote add -d <remote name> <remote url>")


def test_an_interrupted_dvc_is_transient(repository: Repository, dvc: Dvc) -> None:
    def interrupt() -> None:
        wait_until(lambda: supervisor_of(repository.folder).children(), "the start of DVC", LIMIT_SECONDS)
        time.sleep(SECONDS_UNTIL_IT_WAITS)
        supervisor_of(repository.folder).children()[0].send_signal(signal.SIGINT)

    dvc.run(["version"], print)  # starts the supervisor
    threading.Thread(target=interrupt, daemon=True).start()
    with Repo(str(repository.folder)).lock:  # for which DVC waits
        error = failure_of(lambda: dvc.reproduce("collect", print))
    assert error.failure is Failure.TRANSIENT
    assert str(error) == "interrupted by the user"
