"""Section `train`: the recipe, the same for every model."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rnnflow.params.section import Count, Probability, Section, Seed

Recipe = Literal["given", "auto"]
Sampling = Literal["shuffle", "balanced"]
Engine = Literal["numba", "torch"]
Decay = Literal["all", "matrices"]
Precision = Literal["float32", "bfloat16"]


class TrainParams(Section):
    """Section `train`: the recipe, the same for every model."""

    recipe: Recipe = "given"
    """Whether models and recipe are as they stand, or are chosen by cross-validation from an entry and a portfolio."""
    engine: Engine = "numba"
    """What computes losses and gradients; tracked because it decides the bits of the weights."""
    precision: Precision = "float32"
    """Of the products in the network; weights and sums stay float32. Engine `torch` only."""
    cuda_graphs: bool = False
    """Whether, on a GPU, loss and gradient of each shape of batch are recorded once and replayed. Engine `torch` only."""
    num_processes: Annotated[int, Field(ge=1, le=1024)] = 1
    """That share each batch, started by `torchrun`."""
    memory_budget_mb: Count = 1024
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
    """Largest share of a sequence's steps that are set to zero, one consecutive block."""
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
    def _one_process_chooses(self) -> "TrainParams":
        if self.recipe == "auto" and self.num_processes > 1:
            raise ValueError(
                f"recipe: auto is for one process, got num_processes {self.num_processes}; use `rnnflow tune`"
            )
        return self

    @model_validator(mode="after")
    def _each_process_has_a_share(self) -> "TrainParams":
        if self.num_processes > self.batch_size:
            raise ValueError(
                f"num_processes {self.num_processes}, more than the {self.batch_size} sequences of a batch (batch_size)"
            )
        return self
