# SPDX-License-Identifier: Apache-2.0
"""train(): against a loop of PyTorch's own, and what it does when something is wrong."""

import copy
import dataclasses
import threading

import numpy as np
import pytest

import percentdelta as pd
import torch_helpers
from percentdelta.batches import BatchSource, gradient_key
from torch_helpers import (DATASET_SIZE, LOSS, RATE, Interrupt, functional, make_job, models, nn,
                           numbers, small, torch)

from percentdelta.torch import ModuleError, job_for, train
from percentdelta.torch import _bound_module, _display, _seeds


def train_locally(module, loss, dataset, job):
    """Plain SGD as the servers do it, in a loop of one's own."""
    source = BatchSource(job.seed, job.data.training_examples)
    buffers = [value for value in module.buffers() if value.is_floating_point()]
    counters = [value for value in module.buffers() if not value.is_floating_point()]
    parameters = [each for each in module.parameters() if each.requires_grad]
    for step in range(job.max_steps):
        before = [value.clone() for value in buffers]
        gradients, after = [], []
        for slot in range(job.gradients_per_step):
            examples = source.examples(*job.batch_of(step, slot), job.batch_size)
            samples = [dataset[i] for i in examples.tolist()]
            inputs, targets = torch.utils.data.default_collate(samples)
            for value, old in zip(buffers, before):
                value.copy_(old)
            for value in counters:
                value.fill_(step)
            _seeds.seed_all(gradient_key(job.seed, step, slot))
            module.zero_grad(set_to_none=True)
            loss(module(inputs), targets).backward()
            gradients.append([torch.zeros_like(each) if each.grad is None else each.grad.to_dense()
                              for each in parameters])
            after.append([value.clone() for value in buffers])
        with torch.no_grad():
            for i, parameter in enumerate(parameters):
                parameter -= RATE * sum(each[i].double() for each in gradients) / len(gradients)
            for i, value in enumerate(buffers):
                value.copy_(sum(each[i].double() for each in after) / len(after))
    module.zero_grad(set_to_none=True)


class Tied(nn.Module):
    """One weight in two places, a layer without a gradient, a frozen one, a scalar of its own."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)
        self.again = nn.Linear(4, 4, bias=False)
        self.again.weight = self.first.weight
        self.unused = nn.Linear(2, 2)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.out = nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.frozen(self.again(self.first(x).tanh())) * self.scale)


class Images(nn.Module):
    """A convolution in channels-last memory, batch normalization that does not learn."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3, affine=False, momentum=None)
        self.out = nn.Linear(3, 3)
        self.to(memory_format=torch.channels_last)

    def forward(self, x):
        x = x[:, :, None, None].expand(-1, -1, 2, 2).reshape(len(x), 2, 4, 2)
        return self.out(self.norm(self.conv(x)).mean((2, 3)))


class Words(nn.Module):
    """Sparse gradients, an LSTM."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 4, sparse=True)
        self.lstm = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x):
        return self.lstm(self.embedding((x * 9).long()))[0][:, -1]


@pytest.mark.parametrize("build", [small, Tied, Images, Words],
                         ids=["small", "tied", "images", "words"])
def test_it_is_what_a_loop_of_pytorch_s_would_do(build, dataset, start, tmp_path):
    torch.manual_seed(3)
    module = build()
    expected = copy.deepcopy(module)
    layouts = [parameter.stride() for parameter in module.parameters()]
    job = make_job(module, dataset, tmp_path)
    train_locally(expected, LOSS, dataset, job)
    cluster = start(job, shards=2)
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.data.zero_()  # the cluster's count
    summary = train(module, LOSS, dataset, cluster.address, progress=False)
    assert summary.finished and summary.step == job.max_steps
    state, expected_state = module.state_dict(), expected.state_dict()
    assert list(state) == list(expected_state)
    for name, value in state.items():
        wanted = expected_state[name]
        np.testing.assert_allclose(value, wanted, rtol=2e-6, atol=1e-7, err_msg=name)
    assert [parameter.stride() for parameter in module.parameters()] == layouts


def test_the_module_is_its_own_again(dataset, start, tmp_path):
    module = small()
    cluster = start(make_job(module, dataset, tmp_path))
    summary = train(module, LOSS, dataset, cluster.address, progress=False)
    with cluster.client() as client:
        weights = client.weights()
        assert summary.checksum == client.checksum()
        assert summary.progress.step == summary.step == client.status().step == weights.step == 4
    assert (summary.gradients, summary.examples) == (8, 80)
    assert summary.loss == pytest.approx(summary.progress.training[-1].loss, rel=0.5)
    cluster.close()
    for part in torch_helpers.percentdelta.torch._parts.parts_of(module):
        if part.tensor_name in weights:
            np.testing.assert_array_equal(part.value.detach(), weights[part.tensor_name])
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    LOSS(module(numbers(5, 4)), torch.arange(5) % 3).backward()
    optimizer.step()
    assert torch.isfinite(module[0].weight).all()


def test_evaluations_leave_no_trace(dataset, start, tmp_path):
    module = small()
    job = make_job(module, dataset, tmp_path)
    cluster = start(job)
    expected = train(module, LOSS, dataset, cluster.address, progress=False).checksum
    test_dataset = torch.utils.data.TensorDataset(numbers(23, 4, seed=4), torch.arange(23) % 3)
    evaluated = dataclasses.replace(
        job, data=pd.Data(DATASET_SIZE, 23), evaluation=pd.Evaluation(every_steps=2, batch_size=10))
    module = small()
    modes = []

    def loss(output, target):
        modes.append([each.training for each in module.modules()])
        return LOSS(output, target)

    def metric(output, target):
        return {"margin": output.max(1).values.mean(), "third": ((target == 2).sum(), 3)}

    summary = train(module, loss, dataset, start(evaluated).address, test_dataset=test_dataset,
                    progress=False, metric=metric)
    assert summary.checksum == expected
    points = summary.progress.evaluations
    assert [point.step for point in points] == [0, 2, 4]
    assert [True] * 6 in modes and [False] * 6 in modes and len({tuple(m) for m in modes}) == 2
    module.eval()
    inputs, targets = test_dataset.tensors
    with torch.no_grad():
        output = module(inputs)
    assert points[-1].loss == pytest.approx(float(LOSS(output, targets)), rel=1e-5)
    assert points[-1].accuracy == pytest.approx(
        float((output.argmax(1) == targets).float().mean()), rel=1e-6)
    assert points[-1].metrics == pytest.approx(
        {"margin": float(output.max(1).values.mean()), "third": 7 / 9}, rel=1e-5)


def test_a_metric_without_a_name(dataset, start, tmp_path):
    module = small()
    job = make_job(module, dataset, tmp_path, data=pd.Data(DATASET_SIZE, DATASET_SIZE),
                   evaluation=pd.Evaluation(1, 10))
    with pytest.raises(ModuleError, match="metric: expected {name: mean} or .*, got float"):
        train(module, LOSS, dataset, start(job).address, test_dataset=dataset, progress=False,
              metric=lambda output, target: 0.5)


def test_parts_in_evaluation_mode_stay_so(dataset, start, tmp_path):
    module = small()
    module[1].eval()
    before = module[1].running_mean.clone()
    modes = set()

    def loss(output, target):
        modes.add(tuple(each.training for each in module.modules()))
        return LOSS(output, target)

    train(module, loss, dataset, start(make_job(module, dataset, tmp_path)).address, progress=False)
    assert modes == {(True, True, False, True, True, True)}
    assert torch.equal(module[1].running_mean, before)
    module.eval()
    modes.clear()
    train(module, loss, dataset, start(make_job(module, dataset, tmp_path)).address, progress=False)
    assert modes == {(True,) * 6}


def test_batches_of_another_form(start, tmp_path):
    class Samples(torch.utils.data.Dataset):
        def __len__(self):
            return DATASET_SIZE

        def __getitem__(self, index):
            return {"x": numbers(4, seed=index), "y": index % 3, "z": "text"}

    module = small()
    cluster = start(make_job(module, Samples(), tmp_path))
    summary = train(module, LOSS, Samples(), cluster.address, progress=False,
                    forward=lambda module, batch: (module(batch["x"]), batch["y"]))
    assert summary.finished
    cluster = start(make_job(module, Samples(), tmp_path))
    with pytest.raises(ModuleError, match=r"batch: expected a pair \(input, target\), got dict"):
        train(module, LOSS, Samples(), cluster.address, progress=False)


def test_random_numbers_of_the_process_are_put_back(dataset, start, tmp_path):
    import random
    module = small()
    cluster = start(make_job(module, dataset, tmp_path))
    states = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]
    train(module, LOSS, dataset, cluster.address, progress=False)
    assert states == [random.getstate(), np.random.get_state()[1].tolist(),
                      torch.get_rng_state().tolist()]


@pytest.mark.parametrize("loss, message", [
    (lambda output, target: functional.cross_entropy(output, target, reduction="none"),
     r"loss: expected a scalar, the mean over the batch, got shape \[10\]"),
    (lambda output, target: float(LOSS(output, target)),
     "loss: expected a scalar tensor, the mean over the batch, got float"),
    (lambda output, target: LOSS(output.detach(), target),
     "loss: expected one that depends on the module's parameters"),
], ids=["each", "float", "detached"])
def test_losses_without_a_gradient(dataset, start, tmp_path, loss, message):
    module = small()
    cluster = start(make_job(module, dataset, tmp_path))
    with pytest.raises(ModuleError, match=message):
        train(module, loss, dataset, cluster.address, progress=False)
    with cluster.client() as client:
        assert client.status().failed_leases == 1


def test_a_module_that_diverges(dataset, percentdelta_cluster, tmp_path):
    module = small()
    cluster = percentdelta_cluster(make_job(module, dataset, tmp_path))
    with pytest.raises(pd.Error, match="is not finite: the training diverges"):
        train(module, lambda output, target: LOSS(output, target) * float("nan"), dataset,
              cluster.address, progress=False)


def test_data_sets_that_do_not_fit_the_job(dataset, start, tmp_path):
    module = small()
    job = make_job(module, dataset, tmp_path, data=pd.Data(DATASET_SIZE, 7),
                   evaluation=pd.Evaluation(1, 7))
    address = start(job).address
    for options, message in [
            ({}, "test_dataset: expected one, for the job has evaluations, got none"),
            ({"test_dataset": range(8)}, "test_dataset: expected 7 examples, the job's "
                                         "data.test_examples, got 8")]:
        with pytest.raises(ModuleError) as error:
            train(module, LOSS, dataset, address, progress=False, **options)
        assert str(error.value) == message
    with pytest.raises(ModuleError) as error:
        train(module, LOSS, range(59), address, progress=False)
    assert str(error.value) == ("dataset: expected 60 examples, the job's data.training_examples, "
                                "got 59")


def test_a_module_of_another_job(dataset, start, tmp_path):
    cluster = start(make_job(small(), dataset, tmp_path))
    with pytest.raises(ModuleError, match='Linear does not fit the job "Sequential": the module '
                                          "lacks 0/weight"):
        train(nn.Linear(4, 3), LOSS, dataset, cluster.address, progress=False)


def test_constants_must_be_the_same_in_all_workers(dataset, start, tmp_path):
    torch.manual_seed(3)
    module = Tied()
    job = make_job(module, dataset, tmp_path)
    cluster = start(job)
    calls = []

    def interrupt(output, target):  # in the second step: the first has decided for all workers
        calls.append(None)
        if len(calls) > job.gradients_per_step:
            raise Interrupt
        return LOSS(output, target)

    with pytest.raises(Interrupt):
        train(module, interrupt, dataset, cluster.address, progress=False)
    other = copy.deepcopy(module)
    other.frozen.weight.data[0, 0] += 1
    with pytest.raises(pd.FailedPreconditionError, match="For train.. the data are also the "
                                                         "module's frozen parameters"):
        train(other, LOSS, dataset, cluster.address, progress=False)
    with pytest.raises(pd.FailedPreconditionError, match="expected arithmetic torch-.*got mine"):
        train(module, LOSS, dataset, cluster.address, progress=False, arithmetic="mine")
    assert train(module, LOSS, dataset, cluster.address, progress=False).finished


def test_any_arithmetic_where_the_job_allows_it(dataset, start, tmp_path, capsys):
    module = small()
    cluster = start(make_job(module, dataset, tmp_path, any_arithmetic=True))

    def interrupt(output, target):
        raise Interrupt

    with pytest.raises(Interrupt):
        train(module, interrupt, dataset, cluster.address, progress=False)
    summary = train(module, LOSS, dataset, cluster.address, arithmetic="mine")
    assert summary.finished and summary.progress.any_arithmetic
    assert "mine" in summary.progress.other_arithmetic
    assert capsys.readouterr().err.endswith(
        f"weights {summary.checksum[:12]} (any_arithmetic: of this run alone)\n")


def test_one_at_a_time(dataset, start, tmp_path):
    module = small()
    cluster = start(make_job(module, dataset, tmp_path))
    raised = []

    def loss(output, target):
        try:
            train(small(), LOSS, dataset, cluster.address, progress=False)
        except pd.UsageError as error:
            raised.append(str(error))
        return LOSS(output, target)

    train(module, loss, dataset, cluster.address, progress=False)
    assert raised and "expected one train() at a time in a process" in raised[0]


def test_in_a_thread(dataset, start, tmp_path):
    module = small()
    cluster = start(make_job(module, dataset, tmp_path))
    ends = []
    thread = threading.Thread(target=lambda: ends.append(
        train(module, LOSS, dataset, cluster.address, progress=False)))
    thread.start()
    thread.join(60)
    assert ends[0].finished


def test_the_last_lease_s_memory_is_not_the_module_s(dataset, start, tmp_path, monkeypatch):
    """Weights are views of the pull's memory while it trains, and no longer."""
    seen = []
    load = _bound_module.BoundModule.load

    def spy(bound, lease):
        load(bound, lease)
        seen.append(bound.module[0].weight.data_ptr() in
                    [array.ctypes.data for array in bound._weights.arrays])
        assert bound.module[4].weight.data_ptr() % 64 == 0  # which is not, in the pull's memory

    monkeypatch.setattr(_bound_module.BoundModule, "load", spy)
    module = small()
    train(module, LOSS, dataset, start(make_job(module, dataset, tmp_path)).address, progress=False)
    assert seen == [True] * 8


def test_lines_where_there_is_no_terminal(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(_display.time, "monotonic", lambda: now[0])
    display = _display.Display(None, 50)
    for step in range(4):
        display.trained(step, 20, 0.5, 10)
        now[0] += 4
    display.evaluated(4, 10, 20.0, 3)
    display.evaluated(4, 10, 10.0, 4)
    now[0] += 10
    display.trained(4, 20, 0.25, None)
    display.close("finished")
    display.close("stopped")
    assert capsys.readouterr().err.splitlines() == [
        "percentdelta: step 4 of 50, loss 0.5, accuracy 0.500, 7 examples/s",
        "percentdelta: step 5 of 50, loss 0.25, test loss 1.5, test accuracy 0.3500, 1 examples/s",
        "percentdelta: finished, test loss 1.5, test accuracy 0.3500"]
    _display.Display(False, 50).close("finished")
    assert capsys.readouterr().err == ""


def test_a_bar_in_a_terminal(capsys, monkeypatch):
    pytest.importorskip("tqdm", reason="tqdm is not installed: apt install python3-tqdm")
    import sys
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    display = _display.Display(None, 50)
    display.trained(9, 20, 0.5, 10)
    display.close("finished")
    assert "10/50" in capsys.readouterr().err


def test_the_models_of_the_examples_make_jobs(tmp_path):
    for module in (models.MnistCnn(), models.ResNet(), models.Transformer(30)):
        job = job_for(module, range(100), batch_size=10, max_steps=1, weights_file=tmp_path / "x",
                      optimizer=pd.Optimizer(0.1, pd.Sgd()))
        assert job.model.size >= sum(each.numel() for each in module.parameters())
