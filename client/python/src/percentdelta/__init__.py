# SPDX-License-Identifier: Apache-2.0
"""Client and workers for the PercentDelta parameter server.

    Client        looks at a running training: status, statistics, weights, checksum
    Worker        computes gradients of any origin for it
    Job           everything that decides the weights, and its parts
    initial_weights.save  writes the file that a job starts from
    LocalCluster  servers on this machine, for notebooks and tests

docs/python.md is the guide.
"""

from percentdelta import _environment  # noqa: F401  before grpc is imported
from percentdelta import initial_weights
from percentdelta._retry import RetryPolicy
from percentdelta.client import Client, ModelWeights
from percentdelta.errors import (BinaryNotFoundError, DeadlineExceededError, Error,
                                 FailedPreconditionError, GradientError, InvalidArgumentError,
                                 JobError, LeaseDropped, NotFoundError, ServerError,
                                 TrainingFailedError, UnavailableError, UsageError)
from percentdelta.job import (AdaGrad, Adam, Checkpoint, Constant, Cosine, Data, Evaluation,
                              GlorotNormal, GlorotUniform, GradientClipping, HeNormal, HeUniform,
                              Initializer, InitialWeights, Job, Lamb, Lars, LinearDecay, Model,
                              Momentum, Normal, Optimizer, PercentDelta, Rule, Schedule, Sgd,
                              StepDecay, Tensor, TruncatedNormal, Uniform, WeightDecay)
from percentdelta.lease import Lease, Weights
from percentdelta.local_cluster import LocalCluster
from percentdelta.progress import CheckpointStatus, Progress, ProgressPoint, Status, Timings
from percentdelta.random_numbers import RandomStream
from percentdelta.statistics import Statistics, StepStatistics, TensorStatistics
from percentdelta.worker import Worker

__version__ = "0.1.0"

__all__ = [
    "AdaGrad", "Adam", "BinaryNotFoundError", "Checkpoint", "CheckpointStatus", "Client",
    "Constant", "Cosine", "Data", "DeadlineExceededError", "Error", "Evaluation",
    "FailedPreconditionError", "GlorotNormal", "GlorotUniform", "GradientClipping", "GradientError",
    "HeNormal", "HeUniform", "initial_weights", "Initializer", "InitialWeights",
    "InvalidArgumentError", "Job", "JobError", "Lamb", "Lars", "Lease", "LeaseDropped",
    "LinearDecay", "LocalCluster", "Model", "ModelWeights", "Momentum", "Normal", "NotFoundError",
    "Optimizer", "PercentDelta", "Progress", "ProgressPoint", "RandomStream", "RetryPolicy", "Rule",
    "Schedule", "ServerError", "Sgd", "Statistics", "Status", "StepDecay", "StepStatistics",
    "Tensor", "TensorStatistics", "Timings", "TrainingFailedError", "TruncatedNormal",
    "UnavailableError", "Uniform", "UsageError", "WeightDecay", "Weights", "Worker",
]
