"""The engine for compact classifiers on a CPU: a batch costs little more than its arithmetic, on one thread."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from rnnflow.classifier.preparation import Lengths, Preparation
from rnnflow.engines.interface import Batch, Bucket, EngineConfig, train_one_by_one
from rnnflow.engines.numba import machine_code, plan
from rnnflow.engines.numba.target import WIDTH
from rnnflow.params.models import ModelParams, StemParams
from rnnflow.runtime import environment
from rnnflow.runtime.array_types import Float32, Float64, Int64
from rnnflow.runtime.errors import InputError
from rnnflow.sequences.padding import gather

PACKAGES = ("numba", "llvmlite", "numpy")
# What is compiled takes every argument: what is left out is an empty array.
NO_STEP_MASK = np.empty((0, 0, 0, 0), np.float32)
NO_HEAD_MASK = np.empty((0, 0), np.float32)
NO_LOGITS = np.empty((0, 0), np.float32)
NO_GRADIENT = np.empty(0, np.float32)
NO_LABELS = np.empty(0, np.int64)
NO_WEIGHTS = np.empty(0, np.float32)
NO_RATES = np.empty(0)
NO_TOTALS = np.empty(0)


def device() -> str:
    """Return `cpu`.

    Raises:
        InputError: `RNNFLOW_DEVICE` asks for a GPU.
    """
    if environment.wanted_device() == "cuda":
        raise InputError(
            f"environment variable {environment.DEVICE} is cuda, but train.engine numba runs on the CPU; "
            "choose engine torch, or set the variable to auto or cpu"
        )
    return "cpu"


def warm_up() -> str:
    """Compile everything, or load it from where it is kept, and return that place.

    Raises:
        InputError: nothing can be kept there.
    """
    where = machine_code.folder()
    if not machine_code.can_be_kept():
        raise InputError(f"{where}: cannot be written, so that nothing is kept; set {machine_code.FOLDER} to a folder")
    for name in machine_code.NAMES:
        machine_code.kernel(name)
    return str(where)


def is_warm() -> bool:
    """Return whether what all models need was compiled before, for this machine and this version."""
    return machine_code.is_kept()


def answers_for(model: ModelParams) -> bool:
    """Return whether a trained classifier is one whose answers, after each step as well, are computed here."""
    return model.cell in plan.CELLS and model.stem is None and model.members == 1


def create(task: EngineConfig, weights: Float32[np.ndarray, " parameter"], device: str) -> "NumbaEngine":
    """Return an engine for a task.

    Raises:
        InputError: the task needs what this engine does not have.
    """
    for name, is_wanted in {
        f"cell {task.model.cell} (models.….cell)": task.model.cell not in plan.CELLS,
        "a stem of kind convolutions (models.….stem)": isinstance(task.model.stem, StemParams),
        f"precision {task.train.precision} (train.precision)": task.train.precision != "float32",
        "CUDA graphs (train.cuda_graphs)": task.train.cuda_graphs,
        f"{task.train.num_threads} threads (train.num_threads)": task.train.num_threads > 1,
    }.items():
        if is_wanted:
            raise InputError(f"train.engine: numba does not support {name}; change it, or choose engine torch")
    return NumbaEngine(task, weights)


class HostBuffer:
    """Prepared steps in host memory, or mapped into it."""

    def __init__(self, values: Float32[np.ndarray, "steps feature"]) -> None:
        self.values = values

    def take(self, starts: Int64[np.ndarray, " batch"], num_steps: int) -> Float32[np.ndarray, "batch time feature"]:
        """Return so many steps from each start on."""
        return gather(self.values, starts, num_steps)


class NumbaEngine:
    """Trains a classifier by compiled calls."""

    def __init__(self, task: EngineConfig, weights: Float32[np.ndarray, " parameter"]) -> None:
        self._run = machine_code.kernel("run")
        self._stem = [machine_code.kernel(f"stem_{way}") for way in ("forward", "backward") if task.model.stem]
        self.task = task
        self.weights = weights.copy()
        self.gradient = np.zeros_like(weights)
        self.first_moment = np.zeros_like(weights)
        self.second_moment = np.zeros_like(weights)
        self.num_steps = 0
        self._num_inputs = Preparation(task.model, task.num_features).num_outputs
        decaying, recipe = task.decaying(), task.train
        self._optimiser = (
            recipe.max_grad_norm, recipe.weight_decay, NO_WEIGHTS if decaying is None else decaying,
            np.empty(WIDTH),
        )  # fmt: skip
        self._class_weights = np.asarray(task.class_weights, np.float64)
        self._capacity = (0, 0)
        self._plan, self._scratch = np.empty((0, 0), np.int64), np.empty(0, np.float32)
        self._equal_lengths = functools.lru_cache(_equal_lengths)  # a few microseconds of a step of forty

    def buffer(self, values: Float32[np.ndarray, "steps feature"]) -> HostBuffer:
        """Return the steps as they are."""
        return HostBuffer(values)

    def array(self, values: np.ndarray) -> np.ndarray:
        """Return an array as it is."""
        return values

    def train(self, bucket: Bucket, learning_rates: Sequence[float]) -> Sequence[float]:
        """Take a step for each batch, all in one call unless there is a stem, and return their losses."""
        if self.task.model.stem:
            return train_one_by_one(self, bucket, learning_rates)
        if len(learning_rates) != len(bucket):  # compiled code would read beyond their end
            raise ValueError(f"{len(learning_rates)} learning rates for {len(bucket)} batches")
        losses = self._call(
            bucket.inputs, bucket.lengths, self.gradient, NO_LOGITS, bucket.bounds, bucket.labels,
            bucket.total_weights, bucket.step_mask, bucket.head_mask, np.array(learning_rates),
        )  # fmt: skip
        self.num_steps += len(bucket)
        found: list[float] = losses.tolist()
        return found

    def loss_and_grad(self, batch: Batch) -> float:
        """Return the loss of a batch; its gradient is in `gradient` afterwards."""
        losses = self._call(
            batch.inputs, batch.lengths, self.gradient, NO_LOGITS, None, batch.labels, np.array([batch.total_weight]),
            batch.step_mask, batch.head_mask,
        )  # fmt: skip
        return float(losses[0])

    def step(self, learning_rate: float) -> None:
        """Clip the gradient's norm and take a step of AdamW (Loshchilov and Hutter, 2019)."""
        self.num_steps += 1
        machine_code.kernel("clipped_adamw")(
            self.weights, self.gradient, self.first_moment, self.second_moment, self.num_steps,
            learning_rate, *self._optimiser,
        )  # fmt: skip

    def logits(
        self, prepared: Float32[np.ndarray, "batch time feature"], lengths: Lengths
    ) -> Float32[np.ndarray, "batch class"]:
        """Return the logits of the classifier as it is now, without dropout."""
        logits = np.empty((len(prepared), self.task.num_classes), np.float32)
        size = self.task.train.batch_size  # what there is scratch for
        starts = np.arange(0, len(prepared), size)
        bounds = np.stack([starts, np.minimum(starts + size, len(prepared))], axis=1)
        if not self.task.model.stem:
            self._call(prepared, lengths, NO_GRADIENT, logits, bounds)
            return logits
        for start, stop in bounds:
            valid = None if lengths is None else lengths[start:stop]
            self._call(prepared[start:stop], valid, NO_GRADIENT, logits[start:stop])
        return logits

    def step_logits(
        self, prepared: Float32[np.ndarray, "batch time feature"], lengths: Lengths
    ) -> Float32[np.ndarray, "batch step class"]:
        """Return the logits of what each sequence is up to each step, anything in the padding; see `answers_for`.

        The head computes in float64: the last bits of its sums, which depend on the processor, are then rounded away.
        """
        model, num_steps = self.task.model, prepared.shape[1]
        logits = np.empty((len(prepared), num_steps, self.task.num_classes), np.float32)
        last, size = np.empty_like(logits[:, 0]), self.task.train.batch_size
        for start in range(0, len(prepared), size):
            rows = slice(start, start + size)
            valid = None if lengths is None else lengths[rows]
            self._call(prepared[rows], valid, NO_GRADIENT, last[rows])
            head = plan.head(self._plan, self.weights.astype(np.float64), model)
            states = plan.states(self._plan, self._scratch, model, num_steps, len(last[rows]))
            order, _ = self._in_order(valid, np.array([[0, len(last[rows])]]), num_steps)
            by_step = np.concatenate([pooled @ head[0] + head[1] for pooled in _pooled(states, model.pooling)])
            logits[rows][order] = by_step.swapaxes(0, 1)
        return logits

    def state(self) -> dict[str, np.ndarray]:
        """Return all that decides the following steps."""
        return {
            "weights": self.weights,
            "first_moment": self.first_moment,
            "second_moment": self.second_moment,
            "num_steps": np.array(self.num_steps, np.float32),
        }

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go back to where `state` was taken, or to so much of it as is given."""
        for name in ("weights", "first_moment", "second_moment"):
            if name in state:
                getattr(self, name)[:] = state[name]
        self.num_steps = int(state.get("num_steps", self.num_steps))

    def _call(
        self, inputs: np.ndarray, lengths: Lengths, gradient: np.ndarray, logits: np.ndarray, bounds: np.ndarray | None = None,
        labels: np.ndarray = NO_LABELS, total_weights: np.ndarray = NO_TOTALS, step_mask: np.ndarray | None = None,
        head_mask: np.ndarray | None = None, learning_rates: np.ndarray = NO_RATES,
    ) -> Float64[np.ndarray, " part"]:  # fmt: skip
        """Return the losses of some batches, or of all sequences as one: see `kernels.run`."""
        size, num_steps = inputs.shape[:2]
        bounds = np.array([[0, size]]) if bounds is None else np.ascontiguousarray(bounds)
        largest = int((bounds[:, 1] - bounds[:, 0]).max(initial=0))
        if largest > self._capacity[0] or num_steps > self._capacity[1]:
            self._allocate(largest, num_steps)
        order, sorted_lengths = self._in_order(lengths, bounds, num_steps)
        inputs, trains, layer_lengths = np.ascontiguousarray(inputs), len(gradient) > 0, sorted_lengths
        if stem := self.task.model.stem:
            self._stem[0](self._plan, self._scratch, self.weights, inputs, order, sorted_lengths, trains)
            layer_lengths = -(-sorted_lengths // stem.num_averaged)
        losses = np.zeros(len(bounds))
        self._run(
            self._plan, self._scratch, self.weights, gradient, inputs, order, layer_lengths, bounds,
            np.ascontiguousarray(labels), self._class_weights, self.task.train.label_smoothing, total_weights,
            NO_STEP_MASK if step_mask is None else np.ascontiguousarray(step_mask),
            NO_HEAD_MASK if head_mask is None else np.ascontiguousarray(head_mask),
            logits, losses, learning_rates, self.first_moment, self.second_moment, self.num_steps, *self._optimiser,
        )  # fmt: skip
        if stem and trains:
            self._stem[1](self._plan, self._scratch, gradient, sorted_lengths)
        return losses

    def _in_order(
        self, lengths: Lengths, bounds: Int64[np.ndarray, "part 2"], num_steps: int
    ) -> tuple[Int64[np.ndarray, " sequence"], Int64[np.ndarray, " sequence"]]:
        """Return the rows of each batch, longest first, and their lengths: the rows at work in a step are the first ones."""
        size = int(bounds[:, 1].max(initial=0))
        if lengths is None or lengths.min(initial=num_steps) == num_steps:
            return self._equal_lengths(size, num_steps)
        order = np.zeros(size, np.int64)
        for start, stop in bounds:
            order[start:stop] = start + np.argsort(-lengths[start:stop], kind="stable")
        return order, lengths[order]

    def _allocate(self, batch_size: int, num_steps: int) -> None:
        """Plan anew for larger batches.

        Scratch begins as zeros: nobody writes to the weights and inputs that fill up a panel, and so the states that
        fill it up stay zero as well, in every cell.
        """
        self._capacity = max(batch_size, self._capacity[0]), max(num_steps, self._capacity[1])
        self._plan, size = plan.make(self.task.model, self._num_inputs, self.task.num_classes, *self._capacity)
        scratch = np.zeros(size + plan.ALIGNMENT, np.float32)
        self._scratch = scratch[-scratch.ctypes.data // scratch.itemsize % plan.ALIGNMENT :]


def _equal_lengths(batch_size: int, num_steps: int) -> tuple[Int64[np.ndarray, " batch"], Int64[np.ndarray, " batch"]]:
    """Order and lengths of a batch whose sequences are equally long."""
    return np.arange(batch_size), np.full(batch_size, num_steps)


def _pooled(
    blocks: Iterable[Float64[np.ndarray, "step batch unit"]], pooling: str
) -> Iterator[Float64[np.ndarray, "step batch pooled"]]:
    """Yield what the head reads after each step."""
    count, total, largest = 0, np.zeros(()), np.full((), -np.inf)
    for states in blocks:
        parts = [states] if pooling == "last" else []
        if "mean" in pooling:
            totals = total + np.cumsum(states, axis=0)
            parts.append(totals / np.arange(count + 1, count + 1 + len(states))[:, None, None])
            count, total = count + len(states), totals[-1]
        if "max" in pooling:
            parts.append(np.maximum(largest, np.maximum.accumulate(states, axis=0)))
            largest = parts[-1][-1]
        yield np.concatenate(parts, axis=2)
