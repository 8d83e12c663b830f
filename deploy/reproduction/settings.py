# SPDX-License-Identifier: Apache-2.0
"""The trainings of a comparison: for every algorithm, the settings that are tried.

A setting is the optimizer, schedule and momentum of a job, in protobuf's text format; all else is the
data set's base job. As in the paper (section 5.2): AdaGrad, Adam and SGD at a constant rate and
without momentum, PercentDelta and LARS with momentum and Equation 10. Momentum is dampened, because
undamped momentum of 0.9 multiplies the rate by ten, and PercentDelta diverges.
"""

import typing

PERCENT_DELTA, SGD, ADAGRAD, ADAM, LARS = "PercentDelta", "SGD", "AdaGrad", "Adam", "LARS"
ALGORITHMS = (PERCENT_DELTA, ADAGRAD, ADAM, LARS, SGD)

DAMPED = "momentum { coefficient: 0.9 dampening: 0.9 }"
FLOOR = 0.01  # beta of Equation 10


class Setting(typing.NamedTuple):
    """One way to train."""
    algorithm: str
    label: str  # in tables and legends
    update: str  # of the job


def name(setting: Setting) -> str:
    """Returns its name in messages and for --only."""
    return f"{setting.algorithm}, {setting.label}"


def decay(slope: float) -> str:
    """Returns the schedule of Equation 10."""
    return f"schedule {{ linear_decay {{ slope: {slope:g} floor: {FLOOR:g} }} }}"


def percent_delta(rate: float, slope: float, epsilon: float = 1e-4, momentum: str = DAMPED,
                  note: str = "") -> Setting:
    """Returns PercentDelta with these parameters. `note` names a momentum other than the default."""
    label = f"eta {rate:g}, m {slope:g}, eps {epsilon:g}" + (f", {note}" if note else "")
    return Setting(PERCENT_DELTA, label,
                   f"optimizer {{ learning_rate: {rate:g} percent_delta {{ epsilon: {epsilon:g} }} }} "
                   f"{decay(slope)} {momentum}".strip())


def lars(rate: float, slope: float) -> Setting:
    """Returns LARS as in the paper: with momentum and Equation 10."""
    return Setting(LARS, f"eta {rate:g}, m {slope:g}",
                   f"optimizer {{ learning_rate: {rate:g} lars {{}} }} {decay(slope)} {DAMPED}")


def plain(algorithm: str, rate: float, rule: str) -> Setting:
    """Returns a rule at a constant rate, without momentum."""
    return Setting(algorithm, f"eta {rate:g}",
                   f"optimizer {{ learning_rate: {rate:g} {rule} }}")


def adagrad(rate: float) -> Setting:
    """Returns AdaGrad as in Equation 3: the sum begins at almost zero."""
    return plain(ADAGRAD, rate, "ada_grad { initial_accumulator: 1e-6 }")


class DataSet(typing.NamedTuple):
    """A data set and the settings that are tried on it."""
    job: str  # its base, in deploy/jobs
    fetch: tuple[str, ...]  # gets the data: a script of deploy/ and its argument
    quick: tuple[Setting, ...]
    full: tuple[Setting, ...]


def _images(fetch: tuple[str, ...]) -> DataSet:
    # PercentDelta and LARS have the same rates and slopes, and each the paper's own.
    both = ((0.03, 5e-4), (0.06, 5e-4), (0.06, 5e-3), (0.1, 5e-3))
    quick = (
        percent_delta(0.03, 1e-3), *(percent_delta(rate, slope) for rate, slope in both),
        *(adagrad(rate) for rate in (3e-3, 1e-2, 3e-2)),
        *(plain(ADAM, rate, "adam {}") for rate in (3e-4, 1e-3, 3e-3)),
        lars(0.03, 1e-2), *(lars(rate, slope) for rate, slope in both),
        *(plain(SGD, rate, "sgd {}") for rate in (3e-3, 1e-2, 3e-2)))
    # A decade either side of the best, and the paper's 0.03 with several m.
    full = (
        *(percent_delta(0.03, slope) for slope in (1e-4, 2e-4, 5e-4, 1e-3, 2e-3)),
        percent_delta(0.06, 5e-4), percent_delta(0.06, 2e-4),
        *(adagrad(rate) for rate in (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)),
        *(plain(ADAM, rate, "adam {}") for rate in (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)),
        *(lars(rate, 5e-4) for rate in (3e-3, 1e-2, 3e-2, 1e-1, 3e-1)), lars(0.03, 1e-2),
        *(plain(SGD, rate, "sgd {}") for rate in (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)))
    return DataSet("mnist", fetch, quick, full)


_RATINGS = (
    *(percent_delta(rate, 2e-3) for rate in (0.1, 0.2, 0.3, 0.4)),
    *(adagrad(rate) for rate in (0.1, 0.2, 0.3, 0.5)),
    *(plain(ADAM, rate, "adam {}") for rate in (1e-2, 2e-2, 3e-2, 5e-2)),
    *(lars(rate, 2e-3) for rate in (0.1, 0.2, 0.3, 0.4)),
    *(plain(SGD, rate, "sgd {}") for rate in (0.3, 0.5, 0.7, 1)))

_DOCUMENTS = (
    *(percent_delta(rate, 2e-3, epsilon=1e-3) for rate in (0.06, 0.1, 0.2, 0.4)),
    *(adagrad(rate) for rate in (0.1, 0.2, 0.3)),
    *(plain(ADAM, rate, "adam {}") for rate in (1e-2, 2e-2, 3e-2)),
    *(lars(rate, 2e-3) for rate in (0.05, 0.1, 0.3)),
    *(plain(SGD, rate, "sgd {}") for rate in (3, 10, 20)))

DATA_SETS = {
    "mnist": _images(("fetch-data", "--dataset=mnist")),
    "fashion-mnist": _images(("fetch-data", "--dataset=fashion-mnist")),
    "ratings": DataSet("ratings", ("make-data", "ratings"), _RATINGS, _RATINGS),
    "documents": DataSet("documents", ("make-data", "documents"), _DOCUMENTS, _DOCUMENTS),
}

# PercentDelta as in the default job; SGD at a rate at which it trains. Its bars are proportional to the
# rate.
FIGURE1 = (percent_delta(0.06, 5e-4), plain(SGD, 0.03, "sgd {}"))

# Variations of the default job, one parameter at a time; the best get more seeds. The best slope is one
# over the number of steps: 200 steps do not show which one the default job should have.
_UNDAMPED = "momentum { coefficient: 0.9 }"
SWEEP = (
    *(percent_delta(rate, 5e-4) for rate in (0.01, 0.03, 0.06, 0.1, 0.15, 0.2)),
    *(percent_delta(0.06, 5e-4, epsilon) for epsilon in (1e-8, 1e-6, 1e-3, 1e-2)),
    *(percent_delta(0.1, 5e-4, epsilon) for epsilon in (1e-6, 1e-3)),
    percent_delta(0.06, 5e-4, momentum="", note="no momentum"),
    percent_delta(0.06, 5e-4, momentum="momentum { coefficient: 0.9 dampening: 0.5 }",
                  note="dampening 0.5"),
    percent_delta(0.06, 5e-4, momentum=_UNDAMPED, note="not dampened"),
    percent_delta(0.006, 5e-4, momentum=_UNDAMPED, note="not dampened"),
    percent_delta(0.06, 5e-4, momentum="momentum { coefficient: 0.95 dampening: 0.95 }",
                  note="mu 0.95"),
    percent_delta(0.06, 5e-4, momentum="momentum { coefficient: 0.9 dampening: 0.9 nesterov: true }",
                  note="Nesterov"),
    *(percent_delta(0.06, slope) for slope in (0, 2e-3, 5e-3)))


SWEEP_TOP = 6


class Budget(typing.NamedTuple):
    """The size of a reproduction."""
    steps: int
    every: int  # steps between evaluations
    seeds: int  # of each algorithm's best setting; the others have one


BUDGETS = {"quick": Budget(200, 20, 3), "full": Budget(5000, 5, 1)}
