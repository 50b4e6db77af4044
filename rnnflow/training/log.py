"""What a person sees of a training: a progress bar, or lines where there is no terminal; and the files of its epochs.

The files are those of DVCLive, which `dvc metrics`, `dvc plots` and their extensions read. They are written here, since importing
DVCLive costs more than training a compact classifier, and its tables are read again at each step.
"""

import shutil
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rnnflow.runtime.atomic_writes import write_json
from rnnflow.training.loop import Epoch

if TYPE_CHECKING:
    from rich.progress import Progress

NUM_LINES = 10
"""Lines printed for a whole training where there is no terminal to draw a bar on."""


class TrainingLog:
    """Shows and stores each epoch; use it as a context manager.

    Args:
        name: of the model.
        folder: receives `metrics.json` (the last epoch) and `plots/metrics/**.tsv` (every epoch), without time stamps.
        num_epochs: at most.
        device: what trains, printed and never stored.
    """

    def __init__(self, name: str, folder: Path, num_epochs: int, device: str) -> None:
        self.num_epochs = num_epochs
        self.num_done = 0
        self.num_resumed = 0
        self.title = f"{name} on {device}"
        self.folder = folder
        self.bar = _bar(self.title, num_epochs) if sys.stdout.isatty() else None

    def __enter__(self) -> "TrainingLog":
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.bar:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            self.bar.stop()
        if kind is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, epoch: Epoch, num_known: int) -> None:
        """Store the next epoch, and show it if it is new.

        Args:
            epoch: the next one.
            num_known: how many epochs the training has done. A resumed one hands over all its old epochs first; of
                those one line says where it continues.
        """
        if not self.num_done and num_known > 1:
            self._say_resumed(num_known)
        self._store(epoch)
        self.num_done += 1
        is_old = self.num_done < num_known or self.num_done == self.num_resumed
        loss, accuracy = f"{epoch.train_loss:.4f}", f"{epoch.validation_accuracy:.3f}"
        if self.bar:
            self.bar.update(self.bar.task_ids[0], advance=1, loss=loss, accuracy=accuracy)
        elif not is_old and self._is_line_due():
            done = f"epoch {self.num_done}/{self.num_epochs}"
            print(f"{self.title}: {done}, loss {loss}, validation accuracy {accuracy}", flush=True)

    def _say_resumed(self, num_epochs: int) -> None:
        self.num_resumed = num_epochs
        is_over = num_epochs == self.num_epochs
        where = f"all {num_epochs} epochs were done" if is_over else f"continues at epoch {num_epochs + 1}"
        print(f"{self.title}: {where}", flush=True)

    def _is_line_due(self) -> bool:
        share_before = (self.num_done - 1) * NUM_LINES // self.num_epochs
        return self.num_done * NUM_LINES // self.num_epochs > share_before

    def _store(self, epoch: Epoch) -> None:
        figures = {
            "train/loss": epoch.train_loss,
            "validation/loss": epoch.validation_loss,
            "validation/accuracy": epoch.validation_accuracy,
            "learning_rate": epoch.learning_rate,
        }
        nested: dict[str, Any] = {"step": self.num_done}
        for name, figure in figures.items():
            *sections, last = name.split("/")
            table = self.folder.joinpath("plots", "metrics", *sections, f"{last}.tsv")
            if not self.num_done:
                table.parent.mkdir(parents=True, exist_ok=True)
                table.write_text(f"step\t{last}\n", encoding="utf-8")
            with table.open("a", encoding="utf-8") as file:
                file.write(f"{self.num_done}\t{figure!r}\n")
            section = nested
            for part in sections:
                section = section.setdefault(part, {})
            section[last] = figure
        write_json(self.folder / "metrics.json", nested)


def _bar(title: str, num_epochs: int) -> "Progress":
    # Not where there is no terminal: to load it takes a twentieth of stage train.
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]} validation accuracy {task.fields[accuracy]}"),
        TimeRemainingColumn(),
    )
    bar.add_task(title, total=num_epochs, loss="–", accuracy="–")
    return bar
