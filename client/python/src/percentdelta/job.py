# SPDX-License-Identifier: Apache-2.0
"""The job: everything that decides the weights, as plain data.

Two clusters that run equal jobs on equal data hold equal weights after equal steps, bit for bit.
The meaning, unit and range of every field stand in proto/percentdelta/v1/job.proto; the defaults
here are those of absent fields there. A Job is checked when it is made, with the servers' messages:
one that exists is valid.

    job = Job(
        name="softmax",
        model=Model("softmax", (Tensor("dense/weights", (784, 10), TruncatedNormal(0.1)),
                                Tensor("dense/biases", (10,), Constant(0.1)))),
        optimizer=Optimizer(0.03, PercentDelta(epsilon=1e-3)),
        max_steps=200, batch_size=100, data=Data(training_examples=60000))
"""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
from typing import Literal, Optional, Tuple, Union


@dataclasses.dataclass(frozen=True)
class Constant:
    """Every entry the same."""

    value: float = 0.0


@dataclasses.dataclass(frozen=True)
class TruncatedNormal:
    """Normal with mean 0, redrawn beyond two standard deviations. `stddev` > 0."""

    stddev: float


@dataclasses.dataclass(frozen=True)
class Uniform:
    """Evenly in [low, high). `high` > `low`."""

    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Normal:
    """Not truncated. `stddev` > 0."""

    stddev: float
    mean: float = 0.0


# The order of a shape's dimensions:
#   "IN_OUT"  (kernel..., inputs, outputs): TensorFlow, Keras, JAX
#   "OUT_IN"  (outputs, inputs, kernel...): PyTorch
Layout = Literal["IN_OUT", "OUT_IN"]


@dataclasses.dataclass(frozen=True)
class GlorotUniform:
    """Glorot and Bengio, 2010: mean 0, variance gain**2 * 2 / (inputs + outputs) of a unit, each
    times the entries of a convolution's kernel. For tensors of two or more dimensions."""

    layout: Layout
    gain: float = 1.0


@dataclasses.dataclass(frozen=True)
class GlorotNormal:
    """The variance of GlorotUniform, from a normal distribution that is not truncated."""

    layout: Layout
    gain: float = 1.0


@dataclasses.dataclass(frozen=True)
class HeUniform:
    """He et al., 2015: mean 0, variance gain**2 * 2 / inputs of a unit, times the entries of a
    convolution's kernel. For tensors of two or more dimensions.

    PyTorch's kaiming_uniform_(w, a) is HeUniform("OUT_IN", (1 + a**2) ** -0.5)."""

    layout: Layout
    gain: float = 1.0


@dataclasses.dataclass(frozen=True)
class HeNormal:
    """The variance of HeUniform, from a normal distribution that is not truncated."""

    layout: Layout
    gain: float = 1.0


Initializer = Union[Constant, TruncatedNormal, Uniform, Normal, GlorotUniform, GlorotNormal,
                    HeUniform, HeNormal]


@dataclasses.dataclass(frozen=True)
class InitialWeights:
    """The weights of step 0 from a safetensors file: each tensor of the job under its name, with
    its shape, as float32, float16 or bfloat16. Then no tensor has an initializer.

    `file`: a path that all servers see under this name; `sha256`: of the whole file, hexadecimal.
    percentdelta.initial_weights.save writes such a file from NumPy arrays."""

    file: str
    sha256: str

    def __post_init__(self) -> None:
        if isinstance(self.file, os.PathLike):
            object.__setattr__(self, "file", os.fspath(self.file))
        if isinstance(self.sha256, str):
            object.__setattr__(self, "sha256", self.sha256.lower())

    @classmethod
    def of(cls, path: Union[str, os.PathLike[str]]) -> InitialWeights:
        """An existing file, by its absolute path, with the hash that it has now. Reads all of it.
        Raises JobError if that cannot be done."""
        from percentdelta import initial_weights
        return initial_weights.of(path)


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor. `name`: "layer/name"; `shape`: row-major, empty for a scalar.

    `initializer` None: the job's initial_weights; in a job without them zeros, and the job then
    holds Constant().

    `buffer`: not trained, as the running mean of a batch normalization. Its value at the next step
    is the mean of the values that are pushed for it, one per slot, in slot order: the rule,
    momentum, clipping and weight decay do not apply, and it has no update statistics.

    `initializer` None: the job's initial_weights; in a job without them zeros, and the job then
    holds Constant().
    """

    name: str
    shape: Tuple[int, ...] = ()
    initializer: Optional[Initializer] = None
    buffer: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))

    @property
    def size(self) -> int:
        """Number of entries: the product of the shape."""
        return math.prod(self.shape)

    @property
    def layer(self) -> str:
        """What stands before the last slash of the name; the whole name if there is none."""
        return self.name.rpartition("/")[0] if "/" in self.name else self.name


@dataclasses.dataclass(frozen=True)
class Model:
    """The tensors, in the order in which the forward pass needs them."""

    architecture: str
    tensors: Tuple[Tensor, ...]
    dropout_keep_probability: Optional[float] = None  # (0, 1]; None: no dropout

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", tuple(self.tensors))

    @property
    def size(self) -> int:
        """Entries of all tensors."""
        return sum(tensor.size for tensor in self.tensors)

    def without_initializers(self) -> Model:
        """The same model for a job with initial_weights, which takes no initializers."""
        return dataclasses.replace(self, tensors=tuple(
            dataclasses.replace(tensor, initializer=None) for tensor in self.tensors))


@dataclasses.dataclass(frozen=True)
class PercentDelta:
    """Equation 6 of the paper. `epsilon` > 0 pushes each divisor away from zero."""

    epsilon: float


@dataclasses.dataclass(frozen=True)
class Sgd:
    """Equation 1: delta = eta * gamma(t) * g."""


@dataclasses.dataclass(frozen=True)
class AdaGrad:
    """Equations 3 and 4. Takes no momentum."""

    initial_accumulator: float = 0.0
    epsilon: float = 0.0


@dataclasses.dataclass(frozen=True)
class Adam:
    """Kingma and Ba, 2015, Algorithm 1. Takes no momentum besides."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


@dataclasses.dataclass(frozen=True)
class Lars:
    """Equation 5; You, Gitman and Ginsburg, 2017, Algorithm 1."""

    trust_coefficient: float = 1.0
    weight_decay: float = 0.0


@dataclasses.dataclass(frozen=True)
class Lamb:
    """You et al., 2020, Algorithm 2. Takes no momentum besides.

    `weight_decay` is the paper's lambda; `max_weight_norm` bounds ||W||_2 in the trust ratio, 0:
    there is no bound.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-6
    weight_decay: float = 0.0
    max_weight_norm: float = 0.0


Rule = Union[PercentDelta, Sgd, AdaGrad, Adam, Lars, Lamb]


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """`learning_rate`: eta of the paper, > 0; `rule`: what it is the rate of."""

    learning_rate: float
    rule: Rule


@dataclasses.dataclass(frozen=True)
class LinearDecay:
    """gamma(t) = max(floor, 1 - t * slope): Equation 10, and with floor = 0 Equation 9."""

    slope: float
    floor: float = 0.0


@dataclasses.dataclass(frozen=True)
class StepDecay:
    """gamma(t) = factor ** (t // every_steps)."""

    every_steps: int
    factor: float


@dataclasses.dataclass(frozen=True)
class Cosine:
    """gamma(t) = floor + (1 - floor) * (1 + cos(pi * min(t, steps) / steps)) / 2."""

    steps: int
    floor: float = 0.0


@dataclasses.dataclass(frozen=True)
class Schedule:
    """gamma(t). `decay` None: constant. `warmup_steps`: gamma is multiplied by
    min(1, (t + 1) / warmup_steps); 0: it is not."""

    decay: Union[None, LinearDecay, StepDecay, Cosine] = None
    warmup_steps: int = 0


@dataclasses.dataclass(frozen=True)
class Momentum:
    """v = coefficient * v + (1 - dampening) * delta. A dampening of 0 multiplies the rate by up to
    1 / (1 - coefficient)."""

    coefficient: float
    dampening: float = 0.0
    nesterov: bool = False


@dataclasses.dataclass(frozen=True)
class GradientClipping:
    """Each tensor's gradient is made no longer than `norm` (L2), > 0."""

    norm: float


@dataclasses.dataclass(frozen=True)
class WeightDecay:
    """Decoupled: besides the rule's change W = W - eta * gamma(t) * rate * W. `rate` > 0."""

    rate: float


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The test set is evaluated at steps 0, every_steps, 2 * every_steps, ... and at max_steps, in
    leases of `batch_size` examples."""

    every_steps: int
    batch_size: int


@dataclasses.dataclass(frozen=True)
class Data:
    """Numbers of examples."""

    training_examples: int
    test_examples: int = 0


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Taken every `every_steps` and at max_steps; the newest `keep` stay in `directory`, which all
    servers see under this name."""

    every_steps: int
    directory: str
    keep: int = 2


@dataclasses.dataclass(frozen=True)
class Job:
    """A whole job. Raises JobError, which names the field, if it is not valid.

    `any_arithmetic` takes workers that compute differently, as on mixed GPUs, and gives up the
    promise of equal bits: the weights then depend on which worker computed which gradient.
    """

    name: str
    model: Model
    optimizer: Optimizer
    max_steps: int
    batch_size: int
    data: Data
    gradients_per_step: int = 1
    seed: int = 0
    schedule: Schedule = Schedule()
    momentum: Optional[Momentum] = None
    evaluation: Optional[Evaluation] = None
    checkpoint: Optional[Checkpoint] = None
    gradient_clipping: Optional[GradientClipping] = None
    weight_decay: Optional[WeightDecay] = None
    any_arithmetic: bool = False
    initial_weights: Optional[InitialWeights] = None

    def __post_init__(self) -> None:
        from percentdelta import _job_checks  # which needs the classes above
        if self.initial_weights is None:
            object.__setattr__(self, "model", _job_checks.with_zeros(self.model))
        _job_checks.check(self)

    @classmethod
    def from_text(cls, text: Union[str, bytes], source: str = "job") -> Job:
        """Reads the text format. Raises JobError: where (`source`, line, column; or the field),
        what was expected and what came."""
        from percentdelta import _job_codec
        return _job_codec.from_text(text, source)

    @classmethod
    def from_file(cls, path: Union[str, os.PathLike[str]]) -> Job:
        """Reads a text-format file. Raises JobError, also where it cannot be read."""
        from percentdelta import _job_codec
        return _job_codec.from_file(pathlib.Path(path))

    def to_text(self) -> str:
        """The text format, which from_text and the servers read."""
        from percentdelta import _job_codec
        return _job_codec.to_text(self)

    def hash(self) -> str:
        """SHA-256, hexadecimal, of the canonical serialization: the cluster's job_hash."""
        from percentdelta import _job_codec
        return _job_codec.job_hash(self)

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.data.training_examples // self.batch_size

    def batch_of(self, step: int, slot: int) -> Tuple[int, int]:
        """Epoch and index of the batch that a slot of a step takes."""
        return divmod(step * self.gradients_per_step + slot, self.batches_per_epoch)
