# SPDX-License-Identifier: Apache-2.0
"""Jobs: the text format there and back, the hash, and the errors, which are the servers' own."""

import dataclasses
import pathlib
import subprocess

import numpy as np
import pytest

import helpers
import percentdelta as pd
from percentdelta.local_cluster import find_server

JOBS = sorted((helpers.ROOT / "deploy/jobs").glob("*.textproto"))
TEXT = helpers.small_job().to_text()


def servers_error(text, folder):
    """What pd-server says of a job."""
    path = pathlib.Path(folder) / "job.textproto"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    result = subprocess.run([find_server(), "--listen=127.0.0.1:0", f"--job={path}"], check=False,
                            capture_output=True, text=True, timeout=20)
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if line.startswith("pd-server: ")]
    assert lines, result.stderr
    return lines[-1][len("pd-server: "):], path


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_jobs_of_the_project(path, percentdelta_cluster):
    job = pd.Job.from_file(path)
    assert pd.Job.from_text(job.to_text()) == job
    with percentdelta_cluster(job).client() as client:
        assert client.job() == job
        assert client.status().job_hash == job.hash()


def test_every_field_there_and_back():
    job = helpers.small_job(
        name="ein Beruf: Wörter", seed=2**64 - 1,
        optimizer=pd.Optimizer(1e-3, pd.Lars(0.5, 1e-4)),
        schedule=pd.Schedule(pd.Cosine(100, 0.25), warmup_steps=3),
        momentum=pd.Momentum(0.5, 0.25, nesterov=True), evaluation=pd.Evaluation(2, 5),
        checkpoint=pd.Checkpoint(4, "/somewhere", 7), gradient_clipping=pd.GradientClipping(2.5),
        weight_decay=pd.WeightDecay(1e-4), any_arithmetic=True)
    job = dataclasses.replace(job, model=dataclasses.replace(job.model,
                                                             dropout_keep_probability=0.5))
    assert pd.Job.from_text(job.to_text()) == job
    for rule in (pd.Sgd(), pd.AdaGrad(0.1, 1e-9), pd.Adam(0.5, 0.25, 1e-3), pd.PercentDelta(1e-9),
                 pd.Lamb(0.5, 0.25, 1e-3, 0.0, 10.0)):
        changed = dataclasses.replace(job, optimizer=pd.Optimizer(1, rule), momentum=None)
        assert pd.Job.from_text(changed.to_text()) == changed
    for decay in (None, pd.StepDecay(10, 0.5), pd.LinearDecay(1e-3, 0.5)):
        changed = dataclasses.replace(job, schedule=pd.Schedule(decay))
        assert pd.Job.from_text(changed.to_text()) == changed


INITIALIZERS = (pd.Constant(-1.5), pd.TruncatedNormal(0.1), pd.Uniform(-0.1, 0.3),
                pd.Normal(0.1, mean=-2.0), pd.GlorotUniform("IN_OUT"), pd.GlorotNormal("OUT_IN", 2),
                pd.HeUniform("OUT_IN", 0.5), pd.HeNormal("IN_OUT"))


def test_every_initializer_there_and_back(percentdelta_cluster):
    job = helpers.small_job(model=pd.Model("x", tuple(
        pd.Tensor(f"a/{index}", (2, 3), initializer)
        for index, initializer in enumerate(INITIALIZERS))))
    assert pd.Job.from_text(job.to_text()) == job
    with percentdelta_cluster(job).client() as client:
        assert client.job() == job
        assert client.status().job_hash == job.hash()
        weights = client.weights(0)
    assert np.all(weights["a/0"] == -1.5)
    assert np.all((weights["a/2"] >= -0.1) & (weights["a/2"] < 0.3))
    for array in list(weights.values())[1:]:
        assert len(set(array.flat)) == 6


def test_buffers(percentdelta_cluster):
    job = helpers.small_job()
    tensors = job.model.tensors + (pd.Tensor("norm/running_mean", (5,), buffer=True),)
    job = dataclasses.replace(job, model=dataclasses.replace(job.model, tensors=tensors))
    assert pd.Job.from_text(job.to_text()) == job
    assert job.to_text().count("buffer: true") == 1
    trained = (*tensors[:-1], dataclasses.replace(tensors[-1], buffer=False))
    assert job.hash() != dataclasses.replace(
        job, model=dataclasses.replace(job.model, tensors=trained)).hash()
    with percentdelta_cluster(job).client() as client:
        assert client.job() == job
        assert client.status().job_hash == job.hash()


def test_equal_in_other_words():
    plain = pd.Job.from_text(TEXT)
    assert pd.Job.from_text(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r").encode()) == plain
    assert pd.Job.from_text(TEXT.replace("python", "snake")) != plain
    undecayed = helpers.small_job(schedule=pd.Schedule(pd.LinearDecay(0)))
    assert undecayed.hash() == helpers.small_job(schedule=pd.Schedule()).hash()


FIRST = "truncated_normal {\n        stddev: 0.1\n      }"
HASH = "0123456789abcdef" * 4

# What is replaced in the text of the small job, and by what.
BAD = [
    ('name: "small"', ""),
    ('name: "small"', r'name: "a\nb"'),
    ('name: "small"', 'name: "  "'),
    ('name: "small"', f'name: "{"x" * 257}"'),
    ('architecture: "python"', 'architecture: "py thon"'),
    ('architecture: "python"', 'architecture: "python" dropout_keep_probability: 0'),
    ('architecture: "python"', 'architecture: "python" dropout_keep_probability: 1.5'),
    ('name: "scale"', 'name: "conv/biases"'),
    ('name: "scale"', r'name: "a\"b"'),
    ("shape: 301", "shape: 0"),
    ("shape: 301", "shape: 99999999999"),
    ("shape: 301", "shape: 1 " * 40),
    ("initializer {", "buffer: true initializer {"),
    ("stddev: 0.1", "stddev: 0"),
    ("stddev: 0.1", "stddev: nan"),
    (FIRST, "uniform { low: 1e-38 high: 1 }"),
    (FIRST, "uniform { low: -1 high: inf }"),
    (FIRST, "uniform { low: 0.5 high: 0.25 }"),
    (FIRST, "uniform { low: 1 high: 1.000000001 }"),
    (FIRST, "normal { mean: 1e38 stddev: 1 }"),
    (FIRST, "normal { mean: 1 }"),
    (FIRST, "glorot_uniform {}"),
    (FIRST, "glorot_normal { layout: 7 }"),
    (FIRST, "he_uniform { layout: IN_OUT gain: 0 }"),
    (FIRST, "he_normal { layout: OUT_IN gain: nan }"),
    ("constant {\n        value: 0.1\n      }", "he_normal { layout: OUT_IN }"),
    ("seed: 7", f'seed: 7 initial_weights {{ file: "/x" sha256: "{HASH}" }}'),
    ("value: 0.1", "value: 1e38"),
    ("learning_rate: 0.03", "learning_rate: 0"),
    ("learning_rate: 0.03", "learning_rate: 1e-38"),
    ("learning_rate: 0.03", "learning_rate: inf"),
    ("epsilon: 0.001", "epsilon: -1"),
    ("percent_delta {\n    epsilon: 0.001\n  }", ""),
    ("percent_delta {\n    epsilon: 0.001\n  }", "adam {}"),
    ("percent_delta {\n    epsilon: 0.001\n  }", "adam { beta1: 1 }"),
    ("percent_delta {\n    epsilon: 0.001\n  }", "ada_grad { epsilon: -1e-3 }"),
    ("percent_delta {\n    epsilon: 0.001\n  }", "lars { trust_coefficient: 0 }"),
    ("percent_delta {\n    epsilon: 0.001\n  }", "lamb {}"),
    ("percent_delta {\n    epsilon: 0.001\n  }", "lamb { max_weight_norm: -1 }"),
    ("floor: 0.1", "floor: 2"),
    ("slope: 0.02", "slope: -0.02"),
    ("linear_decay {\n    slope: 0.02\n    floor: 0.1\n  }", "step_decay { every_steps: 0 }"),
    ("linear_decay {\n    slope: 0.02\n    floor: 0.1\n  }", "cosine { steps: 3000000000 }"),
    ("coefficient: 0.9", "coefficient: 1"),
    ("dampening: 0.9", "dampening: -0.5"),
    ("gradients_per_step: 3", "gradients_per_step: 1025"),
    ("max_steps: 8", "max_steps: 0"),
    ("batch_size: 10", "batch_size: 101"),
    ("training_examples: 100", "training_examples: 0"),
    ("seed: 7", "seed: 7 evaluation { every_steps: 1 batch_size: 21 }"),
    ("seed: 7", "seed: 7 evaluation { every_steps: 0 batch_size: 1 }"),
    ("seed: 7", "seed: 7 gradient_clipping { norm: 0 }"),
    ("seed: 7", "seed: 7 weight_decay { rate: 0 }"),
    ("seed: 7", "seed: 7 checkpoint { every_steps: 1 }"),
    ("seed: 7", 'seed: 7 checkpoint { every_steps: 1 directory: "~/x" }'),
    ("seed: 7", 'seed: 7 checkpoint { every_steps: 1 directory: "/$HOME" }'),
    ("seed: 7", 'seed: 7 checkpoint { every_steps: 1 directory: "s3://x" }'),
    ("seed: 7", 'seed: 7 checkpoint { every_steps: 1 directory: "/x" keep: 0 }'),
]


@pytest.mark.parametrize("old, new", BAD, ids=[new[:40] or f"no {old}"[:40] for old, new in BAD])
def test_errors_are_the_servers(old, new, tmp_path):
    assert old in TEXT
    text = TEXT.replace(old, new)
    message, path = servers_error(text, tmp_path)
    with pytest.raises(pd.JobError) as error:
        pd.Job.from_file(path)
    assert str(error.value) == message


# The same for a job with a file of initial weights.
FROM_FILE = helpers.small_job(
    model=helpers.small_job().model.without_initializers(),
    initial_weights=pd.InitialWeights("/none/w.safetensors", HASH)).to_text()
BAD_FROM_FILE = [
    ('name: "scale"', 'name: "scale" initializer {}'),
    ('name: "scale"', 'name: "scale" initializer { he_normal { layout: IN_OUT } }'),
    ("/none/w.safetensors", ""),
    ("/none/w.safetensors", "~/w.safetensors"),
    ("/none/w.safetensors", "$HOME/w.safetensors"),
    ("/none/w.safetensors", "hf://w.safetensors"),
    ("/none/w.safetensors", "x" * 4001),
    (HASH, ""),
    (HASH, HASH[1:]),
    (HASH, HASH + "0"),
    (HASH, HASH.replace("f", "g")),
]


@pytest.mark.parametrize("old, new", BAD_FROM_FILE, ids=[new[:60] or f"no {old}"[:60]
                                                         for old, new in BAD_FROM_FILE])
def test_errors_of_initial_weights_are_the_servers(old, new, tmp_path):
    assert old in FROM_FILE
    message, path = servers_error(FROM_FILE.replace(old, new), tmp_path)
    with pytest.raises(pd.JobError) as error:
        pd.Job.from_file(path)
    assert str(error.value) == message


@pytest.mark.parametrize("text", [b"", b" \n", b"\xff\xfen\0", b"name: \"a\0b\""],
                         ids=["empty", "blank", "UTF-16", "NUL"])
def test_bytes_that_are_no_job(text, tmp_path):
    message, path = servers_error(text, tmp_path)
    with pytest.raises(pd.JobError) as error:
        pd.Job.from_file(path)
    assert str(error.value) == message


def test_the_parsers_error_names_the_place():
    with pytest.raises(pd.JobError, match=r"^here:2:1: .*no field named \"nam\".*job\.proto\)$"):
        pd.Job.from_text('seed: 1\nnam: "x"', source="here")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(pd.JobError, match="cannot read the job file .*No such file"):
        pd.Job.from_file(tmp_path / "none")
    with pytest.raises(pd.JobError, match="cannot read the job file .*Is a directory"):
        pd.Job.from_file(tmp_path)


@pytest.mark.parametrize("changes, message", [
    ({"max_steps": 2.5}, "job: max_steps: expected a whole number in 1..2147483647, got 2.5"),
    ({"max_steps": True}, "job: max_steps: expected 1..2147483647, got True"),
    ({"seed": -1}, "job: seed: expected 0..18446744073709551615, got -1"),
    ({"optimizer": None}, "job: optimizer: expected Optimizer, got none"),
    ({"optimizer": pd.Optimizer("0.1", pd.Sgd())},
     "job: optimizer.learning_rate: expected a number, got '0.1'"),
    ({"optimizer": pd.Optimizer(0.1, None)},
     "job: optimizer: expected a rule, one of percent_delta, sgd, ada_grad, adam, lars, lamb, "
     "got none"),
    ({"name": None}, "job: name: expected a name, got none"),
    ({"data": 100}, "job: data: expected Data, got int"),
    ({"model": pd.Model("x", (pd.Tensor("a", (2.0,)),))},
     'job: model.tensors "a" shape: expected whole numbers, got 2.0'),
    ({"model": pd.Model("x", (pd.Tensor("a", buffer="yes"),))},
     "job: model.tensors \"a\" buffer: expected True or False, got 'yes'"),
    ({"any_arithmetic": 1}, "job: any_arithmetic: expected True or False, got 1"),
    ({"model": pd.Model("x", ())}, "job: model.tensors: expected at least one tensor, got none"),
    ({"model": pd.Model("x", (pd.Tensor("a", (2, 2), pd.HeNormal("in_out")),))},
     'job: model.tensors "a" initializer.he_normal.layout: expected IN_OUT or OUT_IN, got in_out'),
    ({"model": pd.Model("x", (pd.Tensor("a", (2, 2), pd.HeNormal(None)),))},
     'job: model.tensors "a" initializer.he_normal.layout: expected IN_OUT or OUT_IN, got none'),
    ({"model": pd.Model("x", (pd.Tensor("a", (2, 2), pd.Normal("1")),))},
     'job: model.tensors "a" initializer.normal.stddev: expected a number, got \'1\''),
    ({"model": pd.Model("x", (pd.Tensor("a", (2, 2), 0.1),))},
     'job: model.tensors "a" initializer: expected one of Constant, TruncatedNormal, Uniform, '
     "Normal, GlorotUniform, GlorotNormal, HeUniform, HeNormal, got float"),
    ({"initial_weights": "/w"}, "job: initial_weights: expected InitialWeights, got str"),
    ({"initial_weights": pd.InitialWeights(b"/w", HASH)},
     "job: initial_weights.file: expected a path, got bytes"),
    ({"initial_weights": pd.InitialWeights("/w", None)},
     "job: initial_weights.sha256: expected 64 hexadecimal digits, got none"),
])
def test_what_text_cannot_say(changes, message):
    if "initial_weights" in changes:
        changes = {**changes, "model": helpers.small_job().model.without_initializers()}
    with pytest.raises(pd.JobError) as error:
        helpers.small_job(**changes)
    assert str(error.value) == message
