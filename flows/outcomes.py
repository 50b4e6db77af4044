"""What has become of each stage in a run."""

from collections import Counter
from dataclasses import dataclass, field

from flows.repository.pipeline import Stage
from flows.settings import group
from flows.supervision.dvc import Failure, Outcome, StageError


@dataclass
class Outcomes:
    """Grows as the run goes on; stages that do not depend on a failed one are still run.

    Attributes:
        done: how each stage came up to date, by name.
        failed: the line of each stage that failed, or of a step after them, such as `push`.
        blocked: stages that wait for a failed one, with its name.
    """

    done: dict[str, str] = field(default_factory=dict)
    failed: dict[str, StageError] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)

    def known(self) -> set[str]:
        """Return the names of the stages about which nothing more will be heard."""
        return {*self.done, *self.failed, *self.blocked}

    def is_blocked(self, stage: Stage) -> bool:
        """Return whether the stage cannot run because one that it depends on did not end well; remember it if so."""
        missing = sorted(stage.upstream & (self.failed.keys() | self.blocked.keys()))
        if missing:
            self.blocked[stage.name] = missing[0]
        return bool(missing)

    def is_settled(self, stage: Stage) -> bool:
        """Return whether the stage was up to date when the run began and nothing it depends on has moved since."""
        return not stage.is_stale and all(self.done[name] == Outcome.UP_TO_DATE for name in stage.upstream)

    def are_all_up_to_date(self) -> bool:
        """Return whether the run has found nothing to do."""
        return not self.failed and {*self.done.values()} == {Outcome.UP_TO_DATE}

    def __getitem__(self, stage: str) -> str:
        if stage in self.failed:
            return f"failed: {self.failed[stage]}"
        return self.done.get(stage) or f"not run, waits for {self.blocked[stage]}"

    def trained(self) -> str:
        """Return which models were trained, not restored, in a few words; nothing where none was."""
        names = sorted(name.partition("@")[2] or name for name, how in self.done.items() if _is_trained(name, how))
        return f"trained {', '.join(names)}" if names else ""

    def summary(self, *said: str) -> str:
        """Return a line: how many stages, how they came up to date, what was trained, and what else there is to say.

        Raises:
            StageError: some did not, or a step after them; each with its own line.
        """
        if self.failed:
            lines = [f"{name}: {error}" for name, error in self.failed.items()]
            waiting = f"not run: {', '.join(self.blocked)}" if self.blocked else ""
            rest = _joined(self.trained(), *said)
            line = _joined(*lines, waiting, f"the rest: {rest}" if rest else "")
            raise StageError(next(iter(self.failed)), Failure.PERMANENT, line)
        if self.are_all_up_to_date():
            return _joined(Outcome.UP_TO_DATE, *said)
        counts = Counter(self.done.values())
        ended = f"{len(self.done)} stages: " + ", ".join(f"{number} {how}" for how, number in counts.items())
        return _joined(ended, self.trained(), *said)


def _is_trained(stage: str, how: str) -> bool:
    return group(stage) == "train" and how.startswith(Outcome.RAN)


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
