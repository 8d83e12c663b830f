# SPDX-License-Identifier: Apache-2.0
"""Modules: which job they make, and whether they fit one."""

import dataclasses
import hashlib
import subprocess
import sys

import numpy as np
import pytest

import percentdelta as pd
from torch_helpers import nn, torch

from percentdelta.torch import ModuleError, arithmetic, job_for, save_weights, train
from percentdelta.torch import _parts

OPTIMIZER = pd.Optimizer(0.1, pd.Sgd())


def make_job(module, folder, **fields):
    return job_for(module, range(100), optimizer=OPTIMIZER, batch_size=10, max_steps=2,
                   weights_file=folder / "start.safetensors", **fields)


class Root(nn.Module):
    """With a parameter, buffers and a nested module of its own."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.blocks = nn.ModuleList([nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))])
        self.register_buffer("table", torch.ones(3), persistent=False)
        self.register_buffer("mask", torch.full((2,), -float("inf")))
        self.register_buffer("ids", torch.arange(3))


def test_tensors_of_a_job(tmp_path):
    module = Root()
    job = make_job(module, tmp_path, seed=3)
    assert job.name == "Root" and job.model.architecture == "torch.Root" and job.seed == 3
    assert job.data == pd.Data(100, 0)
    assert [(t.name, t.layer, t.shape, t.buffer) for t in job.model.tensors] == [
        ("root/scale", "root", (), False),
        ("blocks.0.0/weight", "blocks.0.0", (2, 1, 3, 3), False),
        ("blocks.0.0/bias", "blocks.0.0", (2,), False),
        ("blocks.0.1/weight", "blocks.0.1", (2,), False),
        ("blocks.0.1/bias", "blocks.0.1", (2,), False),
        ("blocks.0.1/running_mean", "blocks.0.1", (2,), True),
        ("blocks.0.1/running_var", "blocks.0.1", (2,), True)]
    kinds = {part.name: part.kind for part in _parts.parts_of(module)}
    assert kinds["table"] == kinds["mask"] == kinds["ids"] == "constant"
    assert kinds["blocks.0.1.num_batches_tracked"] == "counter"


def read_safetensors(path):
    import json
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + size])
    return {name: np.frombuffer(content[8 + size:][slice(*each["data_offsets"])],
                                "<f4").reshape(each["shape"])
            for name, each in header.items() if name != "__metadata__"}


@pytest.mark.parametrize("change", [lambda m: m, lambda m: m.double(), lambda m: m.half(),
                                    lambda m: m.to(memory_format=torch.channels_last)],
                         ids=["as it is", "double", "half", "channels last"])
def test_present_values_are_the_initial_weights(tmp_path, change):
    module = change(nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4)))
    job = make_job(module, tmp_path)
    path = tmp_path / "start.safetensors"
    assert job.initial_weights.file == str(path)
    assert job.initial_weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    saved = read_safetensors(path)
    assert list(saved) == [tensor.name for tensor in job.model.tensors]
    state = module.state_dict()
    for name, array in saved.items():
        expected = state[name.replace("/", ".")].float().numpy()
        np.testing.assert_array_equal(array, expected)
    assert save_weights(module, tmp_path / "again.safetensors").sha256 == job.initial_weights.sha256


def test_tied_parameters_are_one_tensor(tmp_path):
    module = nn.ModuleDict({"embedding": nn.Embedding(7, 3), "out": nn.Linear(3, 7, bias=False)})
    module["out"].weight = module["embedding"].weight
    assert [t.name for t in make_job(module, tmp_path).model.tensors] == ["embedding/weight"]


def test_frozen_parameters(tmp_path):
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    module[0].requires_grad_(False)
    names = [tensor.name for tensor in make_job(module, tmp_path).model.tensors]
    assert names == ["1/weight", "1/bias"]
    job = make_job(module, tmp_path, frozen_in_job=True)
    assert [(tensor.name, tensor.buffer) for tensor in job.model.tensors] == [
        ("0/weight", True), ("0/bias", True), ("1/weight", False), ("1/bias", False)]


def test_a_submodule_called_root(tmp_path):
    module = nn.Module()
    module.root = nn.Linear(1, 1)
    module.weight = nn.Parameter(torch.ones(1))
    assert [tensor.name for tensor in make_job(module, tmp_path).model.tensors] == [
        "root_/weight", "root/weight", "root/bias"]


def frozen(module):
    return module.requires_grad_(False)


def overlapping():
    module = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    module[1].weight.data = module[0].weight.data
    return module


@pytest.mark.parametrize("module, message", [
    (torch.ones(3), "module: expected a torch.nn.Module, got Tensor"),
    (frozen(nn.Linear(1, 1)), "module: Linear has no parameter with requires_grad=True"),
    (nn.LazyLinear(3), "module: weight has no shape yet: call the module once"),
    (nn.ParameterList([nn.Parameter(torch.ones(1, dtype=torch.complex64))]),
     "module: 0: expected a dense parameter of real floating-point numbers, got torch.complex64"),
    (overlapping(), "module: 0.weight and 1.weight share memory, but are different parameters"),
], ids=["no module", "frozen", "lazy", "complex", "overlapping"])
def test_modules_that_make_no_job(tmp_path, module, message):
    with pytest.raises(ModuleError) as raised:
        make_job(module, tmp_path)
    assert message in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_job_that_is_not_valid_leaves_no_file(tmp_path):
    with pytest.raises(pd.JobError, match="job: batch_size: expected 1..100, got 0"):
        job_for(nn.Linear(1, 1), range(100), optimizer=OPTIMIZER, batch_size=0, max_steps=1,
                weights_file=tmp_path / "start.safetensors")
    with pytest.raises(pd.JobError, match="blanks, quotes"):
        make_job(nn.ModuleDict({"a b": nn.Linear(1, 1)}), tmp_path)
    with pytest.raises(ModuleError, match="expected the data set, or data="):
        job_for(nn.Linear(1, 1), optimizer=OPTIMIZER, batch_size=1, max_steps=1)
    assert not list(tmp_path.iterdir())


def test_initial_values_that_no_server_takes(tmp_path):
    module = nn.Linear(1, 1)
    module.bias.data.fill_(float("nan"))
    with pytest.raises(pd.JobError, match='tensor "?root/bias"?: entry 0: expected a finite'):
        make_job(module, tmp_path)


def test_zeros_under_percent_delta_are_warned_of(tmp_path, caplog):
    module = nn.BatchNorm1d(3)
    job_for(module, range(10), optimizer=pd.Optimizer(0.03, pd.PercentDelta(1e-3)), batch_size=1,
            max_steps=1, weights_file=tmp_path / "start.safetensors")
    assert "bias is all zero: PercentDelta changes a tensor by a fraction" in caplog.text


def refit(tmp_path, change, **fields):
    """The error of a changed module with the job of the unchanged one."""
    def build():
        return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))

    job = make_job(build(), tmp_path, **fields)
    module = build()
    module = change(module) or module
    with pytest.raises(ModuleError) as raised:
        _parts.match(module, job)
    text = str(raised.value)
    assert text.startswith(
        f'the module {type(module).__name__} does not fit the job "Sequential": ')
    return text


def rename(module):
    return nn.Sequential(*list(module)[:2], nn.Identity(), module[2])


def widen(module):
    module[2] = nn.Linear(3, 2)


def freeze(module):
    module[0].weight.requires_grad_(False)


def swap_kinds(module):
    """The running mean becomes a parameter, the weight a buffer."""
    norm = module[1]
    mean, weight = norm.running_mean, norm.weight.data
    del norm.running_mean, norm.weight
    norm.running_mean = nn.Parameter(mean)
    norm.register_buffer("weight", weight)


@pytest.mark.parametrize("change, messages", [
    (rename, ["the module lacks 2/weight, 2/bias", "the job lacks 3/weight, 3/bias"]),
    (widen, ["other shapes: 2/weight (job [1, 3], module [2, 3]), 2/bias (job [1], module [2])"]),
    (freeze, ["the job trains, but the module has requires_grad=False for 0/weight"]),
    (swap_kinds, ["a buffer in the job, but a trained parameter in the module: 1/running_mean",
                  "trained in the job, but a buffer in the module: 1/weight"]),
    (lambda m: nn.Sequential(*[nn.Linear(1, 1)] * 20),
     ["other shapes: 0/weight (job [3, 2], module [1, 1])", "the module lacks 1/weight"]),
], ids=["other names", "other shapes", "frozen", "other kinds", "another module"])
def test_modules_that_do_not_fit_the_job(tmp_path, change, messages):
    text = refit(tmp_path, change)
    for message in messages:
        assert message in text


def test_the_fingerprint_is_that_of_what_is_not_in_the_job(tmp_path):
    def fingerprint(module, data=""):
        job = make_job(module, tmp_path)
        return _parts.fingerprint(_parts.match(module, job)[1], data)

    plain = nn.Linear(2, 2)
    assert fingerprint(plain) == "" and fingerprint(plain, "mnist") == "mnist"
    assert fingerprint(nn.BatchNorm1d(2), "mnist") == "mnist"  # counters follow from the step
    module = Root()
    first = fingerprint(module)
    module.blocks[0][1].num_batches_tracked += 1
    assert first == fingerprint(module) and first != fingerprint(module, "mnist")
    module.ids[0] = 5
    assert fingerprint(module) != first
    module = nn.Sequential(nn.Linear(2, 2), frozen(nn.Linear(2, 2)))
    first = fingerprint(module)
    module[1].weight[0, 0] += 1
    assert fingerprint(module) != first


def test_the_arithmetic_names_what_decides_the_last_bits():
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = arithmetic()
        assert one.startswith(f"torch-{torch.__version__}/cpu/") and one.endswith("/1-thread")
        assert len(one.split("/")) == 4 and one == one.lower()
        torch.use_deterministic_algorithms(True)
        assert arithmetic() == one + "/deterministic"
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(2)
        assert arithmetic("cpu") == one.replace("1-thread", "2-threads")
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("loss, message", [
    (nn.CrossEntropyLoss(reduction="sum"), 'expected the mean over the batch, got reduction="sum"'),
    (nn.MSELoss(reduction="none"), 'expected the mean over the batch, got reduction="none"'),
    ("mse", "loss: expected a function of (output, target), got str"),
])
def test_losses_that_are_not_a_mean(loss, message):
    with pytest.raises(ModuleError) as raised:
        train(nn.Linear(1, 1), loss, range(10), "127.0.0.1:1")
    assert message in str(raised.value)


@pytest.mark.parametrize("module, got", [
    (nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1, device="meta")]), "cpu, meta"),
    (nn.Flatten(), "no parameter")])
def test_modules_on_several_devices_or_none(module, got):
    with pytest.raises(ModuleError) as raised:
        train(module, nn.MSELoss(), range(10), "127.0.0.1:1")
    assert str(raised.value) == f"module: expected all parameters on one device, got {got}"


def test_an_address_without_a_port():
    with pytest.raises(pd.InvalidArgumentError, match="address: expected HOST:PORT"):
        train(nn.Linear(1, 1), nn.MSELoss(), range(10), "127.0.0.1")


def test_without_pytorch_the_message_says_what_to_install():
    code = ("import sys; sys.modules['torch'] = None\n"
            "import percentdelta\n"
            "try:\n    import percentdelta.torch\n"
            "except ImportError as error:\n    print(error)")
    output = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True)
    assert output.stdout == ("percentdelta.torch needs PyTorch, 1.13 or later: install Debian's "
                             "python3-torch, or torch from PyPI\n"), output.stderr


def test_dataclasses_are_immutable():
    from percentdelta.torch import Summary
    summary = Summary(True, 1, "", 1, 1, 0.0, 0.0, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        summary.step = 2
