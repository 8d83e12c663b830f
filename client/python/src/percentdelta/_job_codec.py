# SPDX-License-Identifier: Apache-2.0
"""Jobs in and out: the text format that people write, the message that travels, the hash that tells
two jobs apart. common/job/job_codec.cc and job_text.cc in Python; the one module that knows the
fields of the message Job."""

import dataclasses
import hashlib
import pathlib
import stat
from typing import Any, Union

from google.protobuf import text_format

from percentdelta import _protocol
from percentdelta import job as jobs
from percentdelta._job_checks import INITIALIZERS, SCALED, invalid
from percentdelta._text import escape_for_log
from percentdelta.errors import JobError

_Message = _protocol.message("Job")
_BY_KIND = {name: kind for kind, name in INITIALIZERS.items()}
_LAYOUTS = _protocol.message("Initializer").DESCRIPTOR.enum_types_by_name["Layout"]
_FORMAT = " (a job is a text-format protobuf; see proto/percentdelta/v1/job.proto)"
_MAX_FILE_BYTES = 16 << 20
_MAX_ERROR_BYTES = 500


def from_text(text: Union[str, bytes], source: str) -> jobs.Job:
    """See Job.from_text."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    try:
        plain = _plain_text(data)
    except JobError as error:
        raise JobError(f"{source}{error}{_FORMAT}") from None
    message = _Message()
    try:
        text_format.Parse(plain, message)
    except text_format.ParseError as error:
        line, column = error.GetLine() or 1, error.GetColumn() or 1
        # The parser's message begins with the place, where it knows it.
        reason = str(error).split(" : ", 1)[-1] if error.GetLine() else str(error)
        raise JobError(f"{source}:{line}:{column}: {escape_for_log(reason, _MAX_ERROR_BYTES)}"
                       f"{_FORMAT}") from None
    try:
        return from_message(message)
    except JobError as error:
        raise JobError(f"{source}: {error}") from None


def from_file(path: pathlib.Path) -> jobs.Job:
    """See Job.from_file."""
    what = f"cannot read the job file {escape_for_log(str(path), 4096)}"
    try:
        mode = path.stat().st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
            raise JobError(f"{what}: expected a file, got a device")
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise JobError(f"{what}: {error.strerror}") from error
    if len(data) > _MAX_FILE_BYTES:
        raise JobError(f"{what}: expected at most {_MAX_FILE_BYTES} bytes, got more")
    return from_text(data, str(path))


def to_text(job: jobs.Job) -> str:
    """See Job.to_text."""
    return str(text_format.MessageToString(to_message(job)))


def job_hash(job: jobs.Job) -> str:
    """See Job.hash."""
    return hashlib.sha256(to_message(job).SerializeToString(deterministic=True)).hexdigest()


def _plain_text(data: bytes) -> str:
    """Without a byte order mark, with line feeds where there are only carriage returns. Raises
    JobError, whose message goes behind the name of the source, if it is not such a text."""
    def at(before: bytes, reason: str) -> JobError:
        column = len(before) - (before.rfind(b"\n") + 1) + 1
        return JobError(f":{before.count(10) + 1}:{column}: {reason}")

    if data.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        raise at(b"", "expected UTF-8, got UTF-16 or UTF-32: save the file as UTF-8")
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    nul = data.find(b"\0")
    if nul >= 0:
        raise at(data[:nul], "expected UTF-8 text, got a NUL: is it UTF-16, or a binary file?")
    if not data.strip(b" \t\r\n\v\f"):
        raise JobError(": expected a job, got an empty text")
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise at(data[:error.start], "expected UTF-8, got other bytes") from None


def _rule_from(optimizer: Any) -> jobs.Rule:
    kind = optimizer.WhichOneof("rule")
    if kind == "percent_delta":
        return jobs.PercentDelta(optimizer.percent_delta.epsilon)
    if kind == "sgd":
        return jobs.Sgd()
    if kind == "ada_grad":
        return jobs.AdaGrad(optimizer.ada_grad.initial_accumulator, optimizer.ada_grad.epsilon)
    if kind == "adam":
        return jobs.Adam(**_present(optimizer.adam, "beta1", "beta2", "epsilon"))
    if kind == "lars":
        return jobs.Lars(weight_decay=optimizer.lars.weight_decay,
                         **_present(optimizer.lars, "trust_coefficient"))
    if kind == "lamb":
        return jobs.Lamb(weight_decay=optimizer.lamb.weight_decay,
                         max_weight_norm=optimizer.lamb.max_weight_norm,
                         **_present(optimizer.lamb, "beta1", "beta2", "epsilon"))
    raise invalid("optimizer", "a rule, one of percent_delta, sgd, ada_grad, adam, lars, lamb",
                  "none")


def _present(message: Any, *fields: str) -> Any:
    """The optional fields that the message has."""
    return {field: getattr(message, field) for field in fields if message.HasField(field)}


def _schedule_from(message: Any) -> jobs.Schedule:
    kind = message.WhichOneof("kind")
    decay: Union[None, jobs.LinearDecay, jobs.StepDecay, jobs.Cosine] = None
    if kind == "linear_decay":
        decay = jobs.LinearDecay(message.linear_decay.slope, message.linear_decay.floor)
    elif kind == "step_decay":
        decay = jobs.StepDecay(message.step_decay.every_steps, message.step_decay.factor)
    elif kind == "cosine":
        decay = jobs.Cosine(message.cosine.steps, message.cosine.floor)
    return jobs.Schedule(decay, message.warmup_steps)


def _initializer_from(initializer: Any) -> Any:
    name = initializer.WhichOneof("kind")
    if name is None:
        return jobs.Constant()
    kind = _BY_KIND[name]
    message = getattr(initializer, name)
    if kind not in SCALED:
        return kind(**{field.name: getattr(message, field.name)
                       for field in message.DESCRIPTOR.fields})
    layout = _LAYOUTS.values_by_number.get(message.layout) if message.layout else None
    return kind(layout.name if layout else message.layout, **_present(message, "gain"))


def _tensor_from(message: Any) -> jobs.Tensor:
    initializer = (_initializer_from(message.initializer) if message.HasField("initializer")
                   else None)
    return jobs.Tensor(message.name, tuple(message.shape), initializer, message.buffer)


def _model_from(message: Any) -> jobs.Model:
    keep = (message.dropout_keep_probability if message.HasField("dropout_keep_probability")
            else None)
    return jobs.Model(message.architecture, tuple(map(_tensor_from, message.tensors)), keep)


def _checkpoint_from(message: Any) -> jobs.Checkpoint:
    return jobs.Checkpoint(message.every_steps, message.directory, **_present(message, "keep"))


def from_message(message: Any) -> jobs.Job:
    """The job in a message Job. Raises JobError if it is not valid."""
    def part(name: str, make: Any) -> Any:
        return make(getattr(message, name)) if message.HasField(name) else None

    momentum = part("momentum", lambda m: jobs.Momentum(m.coefficient, m.dampening, m.nesterov))
    if momentum is not None and momentum.coefficient == momentum.dampening == 0:
        momentum = None  # no momentum, in other words
    return jobs.Job(
        name=message.name,
        model=_model_from(message.model),
        optimizer=jobs.Optimizer(message.optimizer.learning_rate, _rule_from(message.optimizer)),
        max_steps=message.max_steps,
        batch_size=message.batch_size,
        data=jobs.Data(message.data.training_examples, message.data.test_examples),
        gradients_per_step=message.gradients_per_step,
        seed=message.seed,
        schedule=_schedule_from(message.schedule),
        momentum=momentum,
        evaluation=part("evaluation", lambda m: jobs.Evaluation(m.every_steps, m.batch_size)),
        checkpoint=part("checkpoint", _checkpoint_from),
        gradient_clipping=part("gradient_clipping", lambda m: jobs.GradientClipping(m.norm)),
        weight_decay=part("weight_decay", lambda m: jobs.WeightDecay(m.rate)),
        any_arithmetic=message.any_arithmetic,
        initial_weights=part("initial_weights",
                             lambda m: jobs.InitialWeights(m.file, m.sha256)))


def _set_rule(rule: jobs.Rule, optimizer: Any) -> None:
    if isinstance(rule, jobs.PercentDelta):
        optimizer.percent_delta.epsilon = rule.epsilon
    elif isinstance(rule, jobs.Sgd):
        optimizer.sgd.SetInParent()
    elif isinstance(rule, jobs.AdaGrad):
        optimizer.ada_grad.SetInParent()
        optimizer.ada_grad.initial_accumulator = rule.initial_accumulator
        optimizer.ada_grad.epsilon = rule.epsilon
    elif isinstance(rule, jobs.Adam):
        optimizer.adam.beta1 = rule.beta1
        optimizer.adam.beta2 = rule.beta2
        optimizer.adam.epsilon = rule.epsilon
    elif isinstance(rule, jobs.Lars):
        optimizer.lars.trust_coefficient = rule.trust_coefficient
        optimizer.lars.weight_decay = rule.weight_decay
    else:
        optimizer.lamb.beta1 = rule.beta1
        optimizer.lamb.beta2 = rule.beta2
        optimizer.lamb.epsilon = rule.epsilon
        optimizer.lamb.weight_decay = rule.weight_decay
        optimizer.lamb.max_weight_norm = rule.max_weight_norm


def _set_schedule(schedule: jobs.Schedule, message: Any) -> None:
    """What is constant is left out, in whatever words it was written."""
    decay = schedule.decay
    if isinstance(decay, jobs.LinearDecay):
        if decay.slope > 0:
            message.schedule.linear_decay.slope = decay.slope
            message.schedule.linear_decay.floor = decay.floor
    elif isinstance(decay, jobs.StepDecay):
        message.schedule.step_decay.every_steps = decay.every_steps
        message.schedule.step_decay.factor = decay.factor
    elif isinstance(decay, jobs.Cosine):
        message.schedule.cosine.steps = decay.steps
        message.schedule.cosine.floor = decay.floor
    if schedule.warmup_steps > 0:
        message.schedule.warmup_steps = schedule.warmup_steps


def _set_initializer(spec: jobs.Initializer, message: Any) -> None:
    """Writes every field, defaults among them."""
    kind = getattr(message, INITIALIZERS[type(spec)])
    kind.SetInParent()
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        setattr(kind, field.name,
                _LAYOUTS.values_by_name[value].number if field.name == "layout" else value)


def _set_model(model: jobs.Model, message: Any) -> None:
    message.architecture = model.architecture
    for spec in model.tensors:
        tensor = message.tensors.add(name=spec.name, shape=spec.shape, buffer=spec.buffer)
        if spec.initializer is not None:
            _set_initializer(spec.initializer, tensor.initializer)
    if model.dropout_keep_probability is not None:
        message.dropout_keep_probability = model.dropout_keep_probability


def to_message(job: jobs.Job) -> Any:
    """The canonical message: that of the servers, whose hash it has."""
    message = _Message(name=job.name, gradients_per_step=job.gradients_per_step,
                       max_steps=job.max_steps, batch_size=job.batch_size, seed=job.seed)
    _set_model(job.model, message.model)
    message.optimizer.learning_rate = job.optimizer.learning_rate
    _set_rule(job.optimizer.rule, message.optimizer)
    _set_schedule(job.schedule, message)
    momentum = job.momentum
    if momentum is not None and (momentum.coefficient != 0 or momentum.dampening != 0):
        message.momentum.coefficient = momentum.coefficient
        message.momentum.dampening = momentum.dampening
        message.momentum.nesterov = momentum.nesterov
    if job.evaluation is not None:
        message.evaluation.every_steps = job.evaluation.every_steps
        message.evaluation.batch_size = job.evaluation.batch_size
    message.data.training_examples = job.data.training_examples
    message.data.test_examples = job.data.test_examples
    if job.checkpoint is not None:
        message.checkpoint.every_steps = job.checkpoint.every_steps
        message.checkpoint.directory = job.checkpoint.directory
        message.checkpoint.keep = job.checkpoint.keep
    if job.gradient_clipping is not None:
        message.gradient_clipping.norm = job.gradient_clipping.norm
    if job.weight_decay is not None:
        message.weight_decay.rate = job.weight_decay.rate
    message.any_arithmetic = job.any_arithmetic
    if job.initial_weights is not None:
        message.initial_weights.file = job.initial_weights.file
        message.initial_weights.sha256 = job.initial_weights.sha256
    return message
