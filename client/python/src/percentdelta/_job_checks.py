# SPDX-License-Identifier: Apache-2.0
"""What a job may be: the checks of common/job/job_validation.cc, with their messages."""

import dataclasses
import numbers
import operator
import struct
from typing import Any, Dict, Tuple, Type

from percentdelta import job as jobs
from percentdelta._text import escape_for_log, quoted
from percentdelta.errors import JobError

MIN_MAGNITUDE = 1e-37
MAX_MAGNITUDE = 1e37
_MAX_ENTRIES = 1 << 35
_MAX_TENSORS = 10000
_MAX_DIMENSIONS = 32
_MAX_NAME_BYTES = 256
_MAX_PATH_BYTES = 4000
_MAX_GRADIENTS_PER_STEP = 1024
_MAX_STEPS = 2**31 - 1
_MAX_EXAMPLES = 1 << 40
_MAX_BATCH = 1 << 24
_MAX_EVALUATION_PARTS = 1 << 20
_MAX_KEPT = 1000
_RULES = (jobs.PercentDelta, jobs.Sgd, jobs.AdaGrad, jobs.Adam, jobs.Lars, jobs.Lamb)
SCALED: Dict[Type[Any], str] = {
    jobs.GlorotUniform: "glorot_uniform", jobs.GlorotNormal: "glorot_normal",
    jobs.HeUniform: "he_uniform", jobs.HeNormal: "he_normal"}
INITIALIZERS: Dict[Type[Any], str] = {
    jobs.Constant: "constant", jobs.TruncatedNormal: "truncated_normal", jobs.Uniform: "uniform",
    jobs.Normal: "normal", **SCALED}
_LAYOUTS = ("IN_OUT", "OUT_IN")
_HASH_DIGITS = 64
_WITHOUT_MOMENTUM = {jobs.AdaGrad: "ada_grad", jobs.Adam: "adam", jobs.Lamb: "lamb"}


def check(job: jobs.Job) -> None:
    """Raises JobError: which field, what was expected and what came."""
    _check_name("name", job.name)
    _check_model(_one_of("model", job.model, jobs.Model), job.initial_weights is not None)
    _check_update(job)
    check_integer("gradients_per_step", job.gradients_per_step, 1, _MAX_GRADIENTS_PER_STEP)
    check_integer("max_steps", job.max_steps, 1, _MAX_STEPS)
    data = _one_of("data", job.data, jobs.Data)
    check_integer("data.training_examples", data.training_examples, 1, _MAX_EXAMPLES)
    check_integer("batch_size", job.batch_size, 1, min(data.training_examples, _MAX_BATCH))
    check_integer("data.test_examples", data.test_examples, 0, _MAX_EXAMPLES)
    check_integer("seed", job.seed, 0, 2**64 - 1)
    if not isinstance(job.any_arithmetic, bool):
        raise invalid("any_arithmetic", "True or False", repr(job.any_arithmetic))
    if job.evaluation is not None:
        _check_evaluation(_one_of("evaluation", job.evaluation, jobs.Evaluation),
                          data.test_examples)
    if job.checkpoint is not None:
        checkpoint = _one_of("checkpoint", job.checkpoint, jobs.Checkpoint)
        check_integer("checkpoint.every_steps", checkpoint.every_steps, 1, _MAX_STEPS)
        _check_path("checkpoint.directory", checkpoint.directory)
        check_integer("checkpoint.keep", checkpoint.keep, 1, _MAX_KEPT)
    if job.initial_weights is not None:
        _check_initial_weights(_one_of("initial_weights", job.initial_weights,
                                       jobs.InitialWeights))


def with_zeros(model: Any) -> Any:
    """The model, in which tensors without an initializer begin with zeros."""
    if not isinstance(model, jobs.Model) or not any(
            isinstance(tensor, jobs.Tensor) and tensor.initializer is None
            for tensor in model.tensors):
        return model
    return dataclasses.replace(model, tensors=tuple(
        dataclasses.replace(tensor, initializer=jobs.Constant())
        if isinstance(tensor, jobs.Tensor) and tensor.initializer is None else tensor
        for tensor in model.tensors))


def invalid(field: str, expected: str, got: object) -> JobError:
    """The error of a field."""
    return JobError(f"job: {field}: expected {expected}, got {got}")


def check_integer(field: str, value: Any, least: int, most: int) -> None:
    """A whole number within least..most; True and 1.0 are not."""
    try:
        whole = operator.index(value)
    except TypeError:
        raise invalid(field, f"a whole number in {least}..{most}", repr(value)) from None
    if isinstance(value, bool) or not least <= whole <= most:
        raise invalid(field, f"{least}..{most}", value)


def _number(field: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise invalid(field, "a number", repr(value))
    return float(value)


def _check_positive(field: str, value: Any, most: float = MAX_MAGNITUDE) -> None:
    number = _number(field, value)
    if not MIN_MAGNITUDE <= number <= most:
        raise invalid(field, f"a positive number in {MIN_MAGNITUDE:g}..{most:g}", f"{number:g}")


def _check_not_negative(field: str, value: Any, most: float = MAX_MAGNITUDE) -> None:
    number = _number(field, value)
    if number != 0 and not MIN_MAGNITUDE <= number <= most:
        raise invalid(field, f"0 or a number in {MIN_MAGNITUDE:g}..{most:g}", f"{number:g}")


def _check_below_one(field: str, value: Any) -> None:
    number = _number(field, value)
    if number != 0 and not MIN_MAGNITUDE <= number < 1:
        raise invalid(field, f"0 or a number in [{MIN_MAGNITUDE:g}, 1)", f"{number:g}")


def _one_of(field: str, value: Any, *kinds: Type[Any]) -> Any:
    if isinstance(value, kinds):
        return value
    names = ", ".join(kind.__name__ for kind in kinds)
    got = "none" if value is None else type(value).__name__
    raise invalid(field, names if len(kinds) == 1 else f"one of {names}", got)


def _check_text(field: str, text: Any, what: str, most: int) -> str:
    """Not empty, at most `most` bytes, printable UTF-8 on one line, not only blanks."""
    if not isinstance(text, str):
        raise invalid(field, what, "none" if text is None else type(text).__name__)
    size = len(text.encode("utf-8", "surrogatepass"))
    if size == 0:
        raise invalid(field, what, "none")
    if size > most:
        raise invalid(field, f"at most {most} bytes", f"{size} bytes: {quoted(text)}")
    if escape_for_log(text, most) != text:
        raise invalid(field, "printable UTF-8 on one line", quoted(text))
    if not text.strip(" "):
        raise invalid(field, what, "blanks")
    return text


def _check_name(field: str, name: Any) -> None:
    _check_text(field, name, "a name", _MAX_NAME_BYTES)


def _check_key(field: str, name: Any) -> None:
    """A name that is also a key: in files, on command lines, in other people's tools."""
    _check_name(field, name)
    if not all(" " < c < "\x7f" and c not in '"\\' for c in name):
        raise invalid(field, "printable ASCII characters without blanks, quotes, backslashes",
                      quoted(name))


def _check_shape(field: str, shape: Tuple[int, ...]) -> None:
    if len(shape) > _MAX_DIMENSIONS:
        raise invalid(field, f"at most {_MAX_DIMENSIONS} dimensions", len(shape))
    entries = 1
    for dimension in shape:
        try:
            whole = operator.index(dimension)
        except TypeError:
            raise invalid(field, "whole numbers", repr(dimension)) from None
        if whole < 1:
            raise invalid(field, "dimensions of at least 1", whole)
        entries *= whole
        if entries > _MAX_ENTRIES:
            raise invalid(field, f"at most {_MAX_ENTRIES} entries",
                          f"[{', '.join(map(str, shape))}]")


def _check_magnitude(field: str, value: Any) -> None:
    number = _number(field, value)
    if number != 0 and not MIN_MAGNITUDE <= abs(number) <= MAX_MAGNITUDE:
        raise invalid(field, f"0 or a number of magnitude {MIN_MAGNITUDE:g}..{MAX_MAGNITUDE:g}",
                      f"{number:g}")


def _as_float32(value: float) -> float:
    """Rounded to single precision."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def _check_uniform(field: str, uniform: jobs.Uniform) -> None:
    _check_magnitude(f"{field}.low", uniform.low)
    _check_magnitude(f"{field}.high", uniform.high)
    if not _as_float32(uniform.low) < _as_float32(uniform.high):
        raise invalid(f"{field}.high", f"more than low, {uniform.low:g}, in single precision",
                      f"{uniform.high:g}")


def _check_scaled(field: str, scaled: Any, shape: Tuple[int, ...]) -> None:
    if scaled.layout not in _LAYOUTS:
        raise invalid(f"{field}.layout", " or ".join(_LAYOUTS),
                      "none" if scaled.layout in (None, 0) else scaled.layout)
    _check_positive(f"{field}.gain", scaled.gain)
    if len(shape) < 2:
        raise invalid(field, "a tensor of two or more dimensions, which has inputs and outputs",
                      f"[{', '.join(map(str, shape))}]")


def _check_initializer(field: str, initializer: Any, shape: Tuple[int, ...]) -> None:
    _one_of(field, initializer, *INITIALIZERS)
    field = f"{field}.{INITIALIZERS[type(initializer)]}"
    if isinstance(initializer, jobs.Constant):
        _check_magnitude(f"{field}.value", initializer.value)
    elif isinstance(initializer, jobs.TruncatedNormal):
        _check_positive(f"{field}.stddev", initializer.stddev)
    elif isinstance(initializer, jobs.Uniform):
        _check_uniform(field, initializer)
    elif isinstance(initializer, jobs.Normal):
        _check_magnitude(f"{field}.mean", initializer.mean)
        _check_positive(f"{field}.stddev", initializer.stddev)
    else:
        _check_scaled(field, initializer, shape)


def _check_tensor(tensor: jobs.Tensor, from_file: bool) -> None:
    _check_key("model.tensors name", tensor.name)
    field = f'model.tensors "{tensor.name}"'
    _check_shape(f"{field} shape", tensor.shape)
    if not isinstance(tensor.buffer, bool):
        raise invalid(f"{field} buffer", "True or False", repr(tensor.buffer))
    if not from_file:
        _check_initializer(f"{field} initializer", tensor.initializer, tensor.shape)
    elif tensor.initializer is not None:
        kind = type(tensor.initializer)
        raise invalid(f"{field} initializer", "none besides initial_weights",
                      INITIALIZERS.get(kind, kind.__name__))


def _check_initial_weights(weights: jobs.InitialWeights) -> None:
    _check_path("initial_weights.file", weights.file)
    digits = weights.sha256
    if not isinstance(digits, str) or len(digits) != _HASH_DIGITS or not all(
            digit in "0123456789abcdef" for digit in digits):
        got = ("none" if digits is None or digits == "" else
               quoted(digits) if isinstance(digits, str) else type(digits).__name__)
        raise invalid("initial_weights.sha256", f"{_HASH_DIGITS} hexadecimal digits", got)


def _check_model(model: jobs.Model, from_file: bool) -> None:
    _check_key("model.architecture", model.architecture)
    if not model.tensors:
        raise invalid("model.tensors", "at least one tensor", "none")
    if len(model.tensors) > _MAX_TENSORS:
        raise invalid("model.tensors", f"at most {_MAX_TENSORS} tensors", len(model.tensors))
    names = set()
    entries = 0
    for tensor in model.tensors:
        _check_tensor(_one_of("model.tensors", tensor, jobs.Tensor), from_file)
        if tensor.name in names:
            raise invalid("model.tensors", "different names", f"{tensor.name} twice")
        names.add(tensor.name)
        entries += tensor.size
        if entries > _MAX_ENTRIES:
            raise invalid("model.tensors", f"at most {_MAX_ENTRIES} entries in the model",
                          f'{entries} up to "{tensor.name}"')
    if all(tensor.buffer for tensor in model.tensors):
        raise invalid("model.tensors", "at least one tensor that is trained", "only buffers")
    keep = model.dropout_keep_probability
    if keep is None:
        return
    if keep == 0:
        raise invalid("model.dropout_keep_probability",
                      "a number in (0, 1], or no such field for no dropout", "0")
    _check_not_negative("model.dropout_keep_probability", keep, 1)


def _check_rule(rule: Any) -> None:
    if not isinstance(rule, _RULES):
        raise invalid("optimizer",
                      "a rule, one of percent_delta, sgd, ada_grad, adam, lars, lamb",
                      "none" if rule is None else type(rule).__name__)
    if isinstance(rule, jobs.PercentDelta):
        _check_positive("optimizer.percent_delta.epsilon", rule.epsilon)
    elif isinstance(rule, jobs.AdaGrad):
        _check_not_negative("optimizer.ada_grad.initial_accumulator", rule.initial_accumulator)
        _check_not_negative("optimizer.ada_grad.epsilon", rule.epsilon)
    elif isinstance(rule, jobs.Adam):
        _check_below_one("optimizer.adam.beta1", rule.beta1)
        _check_below_one("optimizer.adam.beta2", rule.beta2)
        _check_positive("optimizer.adam.epsilon", rule.epsilon)
    elif isinstance(rule, jobs.Lars):
        _check_positive("optimizer.lars.trust_coefficient", rule.trust_coefficient)
        _check_not_negative("optimizer.lars.weight_decay", rule.weight_decay)
    elif isinstance(rule, jobs.Lamb):
        _check_below_one("optimizer.lamb.beta1", rule.beta1)
        _check_below_one("optimizer.lamb.beta2", rule.beta2)
        _check_positive("optimizer.lamb.epsilon", rule.epsilon)
        _check_not_negative("optimizer.lamb.weight_decay", rule.weight_decay)
        _check_not_negative("optimizer.lamb.max_weight_norm", rule.max_weight_norm)


def _check_schedule(schedule: jobs.Schedule) -> None:
    decay = schedule.decay
    if decay is not None:
        _one_of("schedule", decay, jobs.LinearDecay, jobs.StepDecay, jobs.Cosine)
    if isinstance(decay, jobs.LinearDecay):
        _check_not_negative("schedule.linear_decay.slope", decay.slope)
        _check_not_negative("schedule.linear_decay.floor", decay.floor, 1)
    elif isinstance(decay, jobs.StepDecay):
        check_integer("schedule.step_decay.every_steps", decay.every_steps, 1, _MAX_STEPS)
        _check_positive("schedule.step_decay.factor", decay.factor, 1)
    elif isinstance(decay, jobs.Cosine):
        check_integer("schedule.cosine.steps", decay.steps, 1, _MAX_STEPS)
        _check_not_negative("schedule.cosine.floor", decay.floor, 1)
    check_integer("schedule.warmup_steps", schedule.warmup_steps, 0, _MAX_STEPS)


def _check_momentum(momentum: jobs.Momentum, rule: jobs.Rule) -> None:
    _check_below_one("momentum.coefficient", momentum.coefficient)
    _check_below_one("momentum.dampening", momentum.dampening)
    moves = momentum.coefficient != 0 or momentum.dampening != 0
    name = _WITHOUT_MOMENTUM.get(type(rule))
    if moves and name:
        raise invalid("momentum",
                      f"none with {name}, which scales every entry by its own past",
                      f"coefficient {momentum.coefficient:g}, dampening {momentum.dampening:g}")


def _check_update(job: jobs.Job) -> None:
    optimizer = _one_of("optimizer", job.optimizer, jobs.Optimizer)
    _check_positive("optimizer.learning_rate", optimizer.learning_rate)
    _check_rule(optimizer.rule)
    _check_schedule(_one_of("schedule", job.schedule, jobs.Schedule))
    if job.gradient_clipping is not None:
        clipping = _one_of("gradient_clipping", job.gradient_clipping, jobs.GradientClipping)
        _check_positive("gradient_clipping.norm", clipping.norm)
    if job.weight_decay is not None:
        decay = _one_of("weight_decay", job.weight_decay, jobs.WeightDecay)
        _check_positive("weight_decay.rate", decay.rate)
        if isinstance(optimizer.rule, jobs.Lamb) and optimizer.rule.weight_decay != 0:
            raise invalid("weight_decay",
                          "none besides optimizer.lamb.weight_decay, which decays the same weights",
                          f"rates {decay.rate:g} and {optimizer.rule.weight_decay:g}")
    if job.momentum is not None:
        _check_momentum(_one_of("momentum", job.momentum, jobs.Momentum), optimizer.rule)


def _check_evaluation(evaluation: jobs.Evaluation, test_examples: int) -> None:
    check_integer("evaluation.every_steps", evaluation.every_steps, 1, _MAX_STEPS)
    check_integer("data.test_examples", test_examples, 1, _MAX_EXAMPLES)
    check_integer("evaluation.batch_size", evaluation.batch_size, 1,
                  min(test_examples, _MAX_BATCH))
    if test_examples // evaluation.batch_size >= _MAX_EVALUATION_PARTS:
        raise invalid("evaluation.batch_size",
                      f"at most {_MAX_EVALUATION_PARTS} batches in the test set",
                      evaluation.batch_size)


def _check_path(field: str, path: Any) -> None:
    """A path that means the same to every program: only shells know home directories and variables,
    and servers on several machines may have several."""
    advice = "give an absolute path"
    _check_text(field, path, "a path", _MAX_PATH_BYTES)
    if path[0] == "~":
        raise invalid(field, f'a path without "~", which is not expanded: {advice}', quoted(path))
    for at, character in enumerate(path):
        following = path[at + 1:at + 2]
        if character == "$" and following and (following in "{(_" or (
                following.isascii() and following.isalpha())):
            raise invalid(field, f"a path without variables, which are not expanded: {advice}",
                          quoted(path))
    if "://" in path:
        raise invalid(field, f"a path in the file system, not a URL: {advice}", quoted(path))
