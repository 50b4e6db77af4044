"""docs/reliability.md, from what `make faults` has counted."""

from collections.abc import Mapping, Sequence

from tests.faults.fuzz.trials import Tally

PROMISES = {
    "inputs": (
        "Bad input is one line that says what is wrong: no traceback, no crash, no wait, no full memory",
        "damaged files, params, overrides, variables and lines, each in a process with 20 s and 1.5 GB",
    ),
    "mistakes": (
        "What a person hands over by mistake is refused in one line, with exit status 2",
        "each kind of wrong file (missing, a pipe, a device, a link in a circle, a web page, a pickle, …) in the place of each "
        "file that a command or stage takes, and wrong arguments",
    ),
    "numbers": (
        "Data and recipes that break arithmetic give a model whose answers are numbers, or one line",
        "constant, huge, tiny, missing and far values, one step, exploding gradients; each cell, scaling, policy and engine, "
        "through stages train, evaluate and export",
    ),
    "flips": (
        "A file with a wrong bit is refused, or gives what it gave before",
        "one random bit flipped in each kind of file that the pipeline writes, for each consumer",
    ),
    "rot": (
        "What has rotted on a disk, with the time stamp it had, is found when it is read, and brought back or made again",
        "one bit of a shard or a checkpoint, of every other one in DVC's cache as well; then up to two runs of `make run`, which "
        "end with the `dvc.lock` of a clone that nobody damaged",
    ),
    "kills": (
        "A run that is killed is made good by `make run`, without a hand: `dvc.lock` is the same to the byte",
        "`kill -9` of a bare `dvc repro` and all its processes, every other time in a write of `dvc.lock`; one in ten "
        "computes each stage, the others restore them from the run cache",
    ),
    "remotes": (
        "A remote that fails in the middle of a push or a pull costs another try, and no byte",
        "a real web server that is away, breaks off in the middle of a file, is slow, busy or refuses, from a random request on; "
        "what may pass is called transient, and once it is well each byte arrives",
    ),
    "clocks": (
        "No clock and no time stamp changes a byte of what the stages write",
        "`dvc repro` in 1999 and after 2038, with a clock set back by a year, in the nights in which summer time begins and ends, in "
        "two time zones, with files from 2100 and from 1970, each computing every stage",
    ),
    "endings": (
        "A run that is ended leaves no process, and the next ones come to the same `dvc.lock`",
        "`kill -9` or SIGTERM to the flow of `make run`, Ctrl-C, a closed terminal, at a random moment",
    ),
    "endurance": (
        "A scheduled run whose processes die, or that is cancelled or too slow, ends, leaves no process, and goes on",
        "real servers, workers and runs; the number counts tests, each with one strike or more",
    ),
}
NOT_RUN = "not run for this page"
TEXT = """# How we tried to break it

`make faults` writes this page: it breaks things by a seed, and counts. A loss is whatever the promise rules out. A share
with a fixed seed runs in `make test` or `make slow`, the whole each week ([`weekly.yml`](../.github/workflows/weekly.yml)). The parts can
be run one by one: `python -m tests.faults kills --write docs/reliability.md`.

| promise | trial | count | losses |
| --- | --- | --- | --- |
{promises}

This page is of seed {seed}. An input that was lost stays in `tests/faults/fuzz/regressions/` and is tried in every
`make test`.

## Each reader and each file

"Refused" is one line and exit status 2; the others were read, since the damage left them valid.

| what | count | refused | losses |
| --- | --- | --- | --- |
{details}

## What tests try

| what happens | what comes of it | tried in |
| --- | --- | --- |
| a training is killed in any epoch, also with several processes or on another machine | the next ends with the same bytes | `tests/stages/test_train.py`, `tests/flows/test_coordination.py` |
| a write is killed | its file is the old one or the new one | `tests/runtime/test_atomic_writes.py`, `tests/classifier/test_safetensors_files.py` |
| a file rots in the work tree, in DVC's cache or in its remote | it is brought back, or made again by the next run | `tests/flows/repository/test_rot.py` |
| raw files, sequences or params change while a stage is at work | the stage fails, DVC records nothing | `tests/runtime/test_unchanged.py` |
| two or three runs at once, in one clone and in several with one remote | one works, the others wait, are refused or find its results | `tests/flows/test_three_at_once.py`, `tests/flows/repository/test_workspace.py` |
| locks of dead processes, cut locks | removed or taken from Git | `tests/flows/supervision/test_repair.py` |
| a disk is full: output, scratch space, cache, remote | a line with the room there is, and another try | `tests/sequences/test_buffers.py`, `tests/flows/supervision/test_full_disks.py` |
| the remote is away, silent, busy or refuses | another try, or given up with a line | `tests/flows/supervision/test_failures.py`, `test_dvc.py` |
| the server is away for a minute | the run goes on | `tests/endurance/test_deaths.py` |
| memory runs out | a line with advice, no retry | `tests/flows/supervision/test_failures.py` |
| the branch moves while a run is at work | the result is made on top of it | `tests/flows/test_publication.py` |

## What is left to a person

- **Your own raw files have no checksum.** A wrong bit in a number of a CSV file is another number. Scheduled runs compare the
  files that they read with the md5 in their `.dvc` files; in a folder of your own a change counts as yours, and `dvc status`
  tells it if the time stamp changed with it. The drift check tells only what is far from the reference.
- **The curves of a training's log have no checksum**, and neither has what only people read (`report.html`,
  `model_card.md`, `verdict.md`). What was measured in the end has one: metrics, tables, verdict, drift.
- **DVC trusts its cache and its remote**, and looks at a file only when its size or its time stamp has changed. `make run` and
  scheduled runs find what has rotted there when a stage reads it; `rnnflow verify models data/sequences` reads all. Raw data
  that is whole neither in the cache nor in the remote is a person's to replace ([troubleshooting](troubleshooting.md)).
- **DVC does not write `dvc.lock` by renaming.** Killed at that moment, it leaves an empty or cut file, and a bare `dvc` command
  fails. `make run` and the flow bring it back ([troubleshooting](troubleshooting.md)); a bare `dvc repro` needs
  `git checkout -- dvc.lock` first. DVC could cure it by writing a file beside and renaming it.
- **A forged file is not a damaged one.** Checksums tell rot, not intent: whoever can write a model can write its checksum.
  [SECURITY.md](../SECURITY.md) says what is trusted.
"""


def text(found: Mapping[str, Sequence[Tally]], seed: int) -> str:
    """Return the page.

    Args:
        found: what was counted, by the names of `PROMISES`.
        seed: that decided the trials.
    """
    promises = [f"| {promise} | {how} | {_counts(found.get(part, []))} |" for part, (promise, how) in PROMISES.items()]
    tallies = [tally for part in ("inputs", "mistakes", "numbers", "flips") for tally in found.get(part, [])]
    details = [f"| {each.target} | {each.tries:,} | {each.refused:,} | {len(each.losses)} |" for each in tallies]
    return TEXT.format(promises="\n".join(promises), details="\n".join(details), seed=seed)


def _counts(tallies: Sequence[Tally]) -> str:
    number = sum(tally.tries for tally in tallies)
    return f"{number:,} | {sum(len(tally.losses) for tally in tallies)}" if number else f"{NOT_RUN} |"
