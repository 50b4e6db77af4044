"""Sections `train` and `models`: the recipe, and what it trains."""

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from rnnflow.params.section import Count, Probability, Section, Seed

Cell = Literal["rnn", "lstm", "gru"]
Pooling = Literal["last", "mean", "max", "mean_max"]
Scaling = Literal["none", "global", "compressed", "sequence"]
Missing = Literal["zero", "forward_fill", "mask", "refuse"]
Sampling = Literal["shuffle", "balanced"]
Engine = Literal["numba", "torch"]
Decay = Literal["all", "matrices"]
Precision = Literal["float32", "bfloat16"]


class StemParams(Section):
    """Convolutions over time before the recurrent layers; they keep the number of steps."""

    channels: Count = 16
    kernel_size: Count = 5
    """Time steps, odd."""
    num_layers: Count = 1

    @model_validator(mode="after")
    def _kernel_has_a_centre(self) -> "StemParams":
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {self.kernel_size}")
        return self


class ModelParams(Section):
    """An entry of `models`: the architecture of one classifier."""

    cell: Cell
    hidden_size: Annotated[int, Field(ge=1, le=65536)] = 32
    num_layers: Count = 1
    bidirectional: bool = False
    dropout: Probability = 0.0
    """Between recurrent layers and before the head."""
    pooling: Pooling = "last"
    """How the steps become one vector: the final state of each direction, or the mean and maximum over valid steps."""
    scaling: Scaling | list[Scaling] = "global"
    """Standardisation of each feature: over the train split (`global`), the same after an inverse hyperbolic sine that keeps
    small values apart (`compressed`), over the steps of each sequence (`sequence`). Several are features side by side.
    """
    missing: Missing = "zero"
    """What a missing value (NaN) becomes: the mean, the last known value, the mean and a feature that says so, an error."""
    downsampling: Count = 1
    """Steps whose mean becomes one step."""
    differences: bool = False
    """Whether each feature's change since the last step is a feature too."""
    stem: StemParams | None = None
    max_dependency: Annotated[int, Field(ge=3)] | None = None
    """Chrono initialisation (Tallec and Ollivier, 2018) for dependencies up to so many steps; LSTM and GRU."""

    @property
    def scalings(self) -> tuple[Scaling, ...]:
        """The kinds of scaling, whose features stand side by side in this order."""
        return tuple(self.scaling) if isinstance(self.scaling, list) else (self.scaling,)

    @property
    def output_size(self) -> int:
        """Numbers that a layer gives for a step: the state of each direction."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    @property
    def pooled_size(self) -> int:
        """Numbers that the head reads."""
        return self.output_size * (2 if self.pooling == "mean_max" else 1)

    @field_validator("scaling", mode="before")
    @classmethod
    def _scalings_are_known(cls, scaling: object) -> object:
        known = get_args(Scaling)
        kinds = scaling if isinstance(scaling, list) else [scaling]
        if not kinds or any(kind not in known for kind in kinds):
            raise ValueError(f"expected {', '.join(known)}, or a list of them, got {scaling!r}")
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"each kind can be there once, got {scaling!r}")
        if len(kinds) > 1 and "none" in kinds:
            raise ValueError(f"'none' cannot be combined, got {scaling!r}")
        return scaling

    @model_validator(mode="after")
    def _chrono_needs_gates(self) -> "ModelParams":
        if self.cell == "rnn" and self.max_dependency is not None:
            raise ValueError("max_dependency sets the biases of gates, which cell 'rnn' lacks; use lstm or gru")
        return self


class TrainParams(Section):
    """Section `train`: the recipe, the same for every model."""

    engine: Engine = "numba"
    """What computes losses and gradients; tracked because it decides the bits of the weights."""
    precision: Precision = "float32"
    """Of the products in the network; weights and sums stay float32. Engine `torch` only."""
    cuda_graphs: bool = False
    """Whether, on a GPU, loss and gradient of each shape of batch are recorded once and replayed. Engine `torch` only."""
    num_processes: Annotated[int, Field(ge=1, le=1024)] = 1
    """That share each batch, started by `torchrun`."""
    memory_budget_mb: Annotated[int, Field(ge=1)] = 1024
    """MiB of a split's values above which they are in a file on disk, mapped into memory."""
    seed: Seed = 0
    """Decides initial weights, order of the sequences, dropout and augmentation."""
    epochs: Count | None = 80
    """Passes over the train split; none where `steps` says how long to train."""
    steps: Count | None = None
    """Steps of the optimiser, instead of `epochs`; the last epoch ends with the last of them."""
    batch_size: Count = 32
    learning_rate: Annotated[float, Field(gt=0)] = 0.005
    """Peak of the one-cycle schedule (Smith and Topin, 2018)."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.2
    """Decoupled, as in AdamW (Loshchilov and Hutter, 2019)."""
    decay: Decay = "all"
    """What decays: all parameters, or only matrices and kernels of convolutions, and no biases."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    jitter: Annotated[float, Field(ge=0)] = 0.0
    """Deviation of the Gaussian noise added to scaled inputs."""
    random_scale: Annotated[float, Field(ge=0)] = 0.0
    """Deviation of the factor around 1 for each scaled feature of each sequence."""
    time_mask: Probability = 0.0
    """Largest share of a sequence's steps that are set to zero, in one stretch."""
    random_crop: Probability = 0.0
    """Largest share of a sequence's steps that are cut off its two ends; at least one step stays."""
    sampling: Sampling = "shuffle"
    """An epoch has each sequence once, or, with `balanced`, as many sequences and every class equally often."""
    label_smoothing: Probability = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    early_stopping_patience: Count | None = None
    """Epochs without a lower validation loss before training ends with the best weights; none trains every epoch."""
    final_fit: bool = False
    """Whether train and validation together train the model that is kept, for as many epochs as validation chose."""
    num_threads: Annotated[int, Field(ge=1, le=1024)] = 1
    """Tracked because it decides the bits of the weights."""

    @model_validator(mode="before")
    @classmethod
    def _steps_replace_the_default_of_epochs(cls, content: object) -> object:
        if isinstance(content, dict) and content.get("steps") is not None:
            return {"epochs": None} | content
        return content

    @model_validator(mode="after")
    def _either_epochs_or_steps(self) -> "TrainParams":
        if self.epochs is not None and self.steps is not None:
            raise ValueError(f"epochs {self.epochs} and steps {self.steps}: set one of them to null")
        if self.epochs is None and self.steps is None:
            raise ValueError("epochs and steps are both null: set one of them")
        return self

    @model_validator(mode="after")
    def _each_process_has_a_share(self) -> "TrainParams":
        if self.num_processes > self.batch_size:
            raise ValueError(
                f"num_processes {self.num_processes}, more than the {self.batch_size} sequences of a batch (batch_size)"
            )
        return self
