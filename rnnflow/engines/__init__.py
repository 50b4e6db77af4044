"""What computes losses and gradients and takes the steps, behind one interface (`interface.py`).

Everything random is drawn in `training/batching.py`, and everything else of a training (schedule, validation, early
stopping, state, log) is in `training/` as well. Parameters are one flat vector in PyTorch's order for all engines, so that
checkpoints, export and resume are the same for each. An engine has a folder of its own; nobody else knows it by name.
"""

import importlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rnnflow.engines.interface import Engine, EngineConfig
from rnnflow.params.models import ModelParams
from rnnflow.runtime import processes
from rnnflow.runtime.array_types import Float32
from rnnflow.runtime.errors import InputError

T = TypeVar("T")


def create(task: EngineConfig, weights: Float32[np.ndarray, " parameter"], device: str) -> Engine:
    """Return the engine that the recipe names; where there are several processes, one that shares their batches.

    Args:
        task: what it is for.
        weights: the parameters to begin with.
        device: `cpu` or `cuda`.

    Raises:
        InputError: it is not installed, or cannot do what the task asks of it.
    """
    engine: Engine = _load_engine(task.train.engine).create(task, weights, device)
    if processes.are_started():
        from rnnflow.engines.distributed import DistributedEngine

        return DistributedEngine(engine, device)
    return engine


def device(name: str) -> str:
    """Return where an engine computes on this machine: `cpu` or `cuda`.

    Raises:
        InputError: it is not installed, or has no such device.
    """
    found: str = _load_engine(name).device()
    return found


def from_first(find: Callable[[], T]) -> T:
    """Return what the first of several processes finds; the others ask it. Alone, it is this one."""
    if not processes.are_started():
        return find()
    from rnnflow.engines import distributed

    found: T = distributed.from_first(find() if processes.is_first() else None)
    return found


def leave() -> None:
    """Part from the other processes of a training, if there are any."""
    if processes.are_started():
        from rnnflow.engines import distributed

        distributed.leave()


def versions(name: str) -> dict[str, str]:
    """Return the versions of the packages that decide an engine's bits."""
    return {package: version(package) for package in _load_engine(name).PACKAGES}


def warm_up(name: str) -> str:
    """Have an engine compile what it compiles, and return where that is kept; nowhere if it compiles nothing.

    Raises:
        InputError: it is not installed.
    """
    module = _load_engine(name)
    where: str = module.warm_up() if hasattr(module, "warm_up") else ""
    return where


def is_warm(name: str) -> bool:
    """Return whether an engine can begin at once: it compiles nothing, or has kept what it compiled.

    Raises:
        InputError: it is not installed.
    """
    module = _load_engine(name)
    return bool(module.is_warm()) if hasattr(module, "is_warm") else True


def answers_for(name: str, model: ModelParams) -> bool:
    """Return whether an engine answers for a trained classifier, so that PyTorch need not be loaded.

    Raises:
        InputError: it is not installed.
    """
    module = _load_engine(name)
    return hasattr(module, "answers_for") and bool(module.answers_for(model))


def entry(name: str) -> Path:
    """Return the module that an engine begins with."""
    return Path(__file__).parent / name / "engine.py"


def _load_engine(name: str) -> Any:
    if not entry(name).is_file():
        raise InputError(f"train.engine: there is no engine {name!r} here")
    package = importlib.import_module(f"rnnflow.engines.{name}")
    try:
        return importlib.import_module(f"{package.__name__}.engine")
    except ModuleNotFoundError as error:
        raise InputError(
            f"train.engine: {name} is not installed ({error.name} is missing); "
            f"pip install 'rnnflow[{package.EXTRA}]', or choose another engine"
        ) from None
