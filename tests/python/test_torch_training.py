# SPDX-License-Identifier: Apache-2.0
"""train(): against a loop of PyTorch's own, against the C++ worker, and what it does when something
is wrong."""

import copy
import dataclasses
import multiprocessing
import os
import signal
import subprocess
import threading

import numpy as np
import pytest

import helpers
import percentdelta as pd
import torch_helpers
from percentdelta.batches import BatchSource, gradient_key
from torch_helpers import functional, models, nn, torch

from percentdelta.torch import ModuleError, job_for, train
from percentdelta.torch import _bound_module, _display, _seeds

RATE = 0.1
EXAMPLES = 60


def make_job(module, dataset, folder, **fields):
    defaults = dict(optimizer=pd.Optimizer(RATE, pd.Sgd()), batch_size=10, max_steps=4, seed=5,
                    gradients_per_step=2, weights_file=folder / "start.safetensors")
    return job_for(module, dataset, **{**defaults, **fields})


def numbers(*shape, seed=1):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(name="dataset")
def fixture_dataset():
    """Four numbers in, three classes out."""
    return torch.utils.data.TensorDataset(numbers(EXAMPLES, 4), torch.arange(EXAMPLES) % 3)


def small():
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.3),
                         nn.Linear(5, 3))


LOSS = nn.CrossEntropyLoss()


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


def write_idx(path, array, kind):
    header = bytes([0, 0, kind, array.ndim]) + b"".join(
        size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(header + array.tobytes())


class CppLayer(nn.Module):
    """Weights in the C++ worker's layout and under its names."""

    def __init__(self, *shape):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(*shape))
        self.biases = nn.Parameter(torch.zeros(shape[-1]))


class CppCnn(nn.Module):
    """The paper's network for jobs of the C++ worker: kernels [height, width, in, out], dense
    weights [in, out], pixels with channels last."""

    def __init__(self):
        super().__init__()
        self.conv1 = CppLayer(5, 5, 1, 32)
        self.conv2 = CppLayer(5, 5, 32, 64)
        self.fc1 = CppLayer(3136, 1024)
        self.fc2 = CppLayer(1024, 10)

    def forward(self, x):
        for layer in (self.conv1, self.conv2):
            x = functional.conv2d(x, layer.weights.permute(3, 2, 0, 1), layer.biases, padding=2)
            x = functional.max_pool2d(functional.relu(x), 2)
        x = x.permute(0, 2, 3, 1).flatten(1)
        x = functional.relu(x @ self.fc1.weights + self.fc1.biases)
        return x @ self.fc2.weights + self.fc2.biases


def mnist(folder):
    """The training and the test set of a folder."""
    sets = []
    for kind in ("train", "t10k"):
        pixels = np.fromfile(folder / f"{kind}-images-idx3-ubyte", np.uint8)[16:]
        labels = np.fromfile(folder / f"{kind}-labels-idx1-ubyte", np.uint8)[8:]
        sets.append(torch.utils.data.TensorDataset(
            torch.from_numpy(pixels.reshape(-1, 1, 28, 28).astype(np.float32) / np.float32(255)),
            torch.from_numpy(labels.astype(np.int64))))
    return sets


REAL = helpers.ROOT / "data/mnist"


@pytest.fixture(name="digits", scope="module")
def fixture_digits(tmp_path_factory):
    """A folder in MNIST's format: the real one with PERCENTDELTA_FULL, else of random pixels."""
    if torch_helpers.FULL:
        return REAL
    folder = tmp_path_factory.mktemp("digits")
    generator = np.random.default_rng(1)
    for kind, count in (("train", 100), ("t10k", 20)):
        write_idx(folder / f"{kind}-images-idx3-ubyte",
                  generator.integers(0, 256, (count, 28, 28), np.uint8), 8)
        write_idx(folder / f"{kind}-labels-idx1-ubyte",
                  generator.integers(0, 10, count, np.uint8), 8)
    return folder


def paper_s_job(**changes):
    return dataclasses.replace(
        pd.Job.from_file(helpers.ROOT / "deploy/jobs/mnist.textproto"), **changes)


def test_gradients_are_the_cpp_worker_s(digits, percentdelta_cluster):
    """From what a large step of plain SGD changes: no optimizer has a part in it."""
    training, test = mnist(digits)
    job = paper_s_job(max_steps=1, batch_size=500 if torch_helpers.FULL else 20, evaluation=None,
                      momentum=None, schedule=pd.Schedule(), optimizer=pd.Optimizer(100, pd.Sgd()),
                      data=pd.Data(len(training), len(test)))
    gradients, losses = [], []
    for kind in ("C++", "PyTorch"):
        cluster = percentdelta_cluster(job)
        if kind == "C++":
            subprocess.run([torch_helpers.program("pd-worker"), f"--data={digits}",
                            f"--coordinator={cluster.address}"], check=True, capture_output=True)
        else:
            train(CppCnn(), LOSS, training, cluster.address, progress=False)
        with cluster.client() as client:
            before, after = client.weights(0), client.weights(1)
            gradients.append({name: (before[name].astype(np.float64) - after[name]) / 100
                              for name in before})
            losses.append(client.progress().training[0])
    assert losses[1].loss == pytest.approx(losses[0].loss, rel=1e-6)
    assert losses[1].accuracy == losses[0].accuracy
    for name, expected in gradients[0].items():
        error = np.abs(gradients[1][name] - expected).max()
        assert error <= 1e-4 * np.abs(expected).max(), name
        assert np.any(expected != 0), name


@pytest.mark.skipif(not torch_helpers.FULL, reason="takes minutes: tests/python/torch-full")
def test_the_paper_s_network_learns(digits, percentdelta_cluster):
    training, test = mnist(digits)
    cluster = percentdelta_cluster(paper_s_job(max_steps=200, evaluation=pd.Evaluation(200, 500)))
    summary = train(CppCnn(), LOSS, training, cluster.address, test_dataset=test)
    print("accuracy after 200 steps:", summary.progress.evaluations[-1].accuracy)
    assert summary.progress.evaluations[-1].accuracy >= 0.97


def test_evaluations_leave_no_trace(dataset, start, tmp_path):
    module = small()
    job = make_job(module, dataset, tmp_path)
    cluster = start(job)
    expected = train(module, LOSS, dataset, cluster.address, progress=False).checksum
    test_dataset = torch.utils.data.TensorDataset(numbers(23, 4, seed=4), torch.arange(23) % 3)
    evaluated = dataclasses.replace(
        job, data=pd.Data(EXAMPLES, 23), evaluation=pd.Evaluation(every_steps=2, batch_size=10))
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
    job = make_job(module, dataset, tmp_path, data=pd.Data(EXAMPLES, EXAMPLES),
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
            return EXAMPLES

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
    job = make_job(module, dataset, tmp_path, data=pd.Data(EXAMPLES, 7),
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


class Interrupt(BaseException):
    pass


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, Interrupt])
def test_what_is_raised_gives_the_lease_back(dataset, start, tmp_path, kind):
    expected_module = small()
    expected = train(expected_module, LOSS, dataset,
                     start(make_job(expected_module, dataset, tmp_path)).address,
                     progress=False).checksum
    module = small()
    cluster = start(make_job(module, dataset, tmp_path))
    calls = []

    def loss(output, target):
        calls.append(1)
        if len(calls) == 4:
            raise kind("enough")
        return LOSS(output, target)

    with pytest.raises(kind, match="enough"):
        train(module, loss, dataset, cluster.address, progress=False)
    hooks = [hook for each in module.modules() for hook in each._forward_pre_hooks.values()]
    assert not hooks and all(parameter.grad is None for parameter in module.parameters())
    assert module[0].weight.data_ptr() != 0 and torch.isfinite(module[0].weight).all()
    assert not hasattr(torch.nn.Parameter, "__getitem__") or (
        torch.nn.Parameter.__getitem__ is torch.Tensor.__getitem__)
    assert train(module, LOSS, dataset, cluster.address, progress=False).checksum == expected


def test_sigterm_ends_it_after_the_lease_in_hand(dataset, start, tmp_path):
    module = small()
    cluster = start(make_job(module, dataset, tmp_path))
    calls = []

    def loss(output, target):
        calls.append(1)
        if len(calls) == 4:  # slot 1 of step 1
            os.kill(os.getpid(), signal.SIGTERM)
        return LOSS(output, target)

    summary = train(module, loss, dataset, cluster.address, progress=False)
    assert not summary.finished and summary.checksum == "" and summary.progress is None
    assert (summary.gradients, summary.step) == (4, 1)
    with cluster.client() as client:
        assert client.status().expired_leases == 0
        np.testing.assert_array_equal(module[0].weight.detach(), client.weights(1)["0/weight"])
    assert train(module, LOSS, dataset, cluster.address, progress=False).finished


def test_sigterm_to_the_process_group(dataset, start, tmp_path):
    """A DataLoader's processes end with it; the next lease finds them gone."""
    module = small()
    cluster = start(make_job(module, dataset, tmp_path))
    calls = []

    def loss(output, target):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            # By another process: a DataLoader's take their parent's as the end of all work.
            pids = [str(child.pid) for child in multiprocessing.active_children()]
            subprocess.run(["sh", "-c", f"kill {' '.join(pids)}"], check=True)
            threading.Event().wait(60)  # until PyTorch's handler of SIGCHLD raises RuntimeError
            raise AssertionError("expected an error of the DataLoader")
        return LOSS(output, target)

    summary = train(module, loss, dataset, cluster.address, progress=False, num_workers=1)
    assert not summary.finished and summary.gradients == 2
    with cluster.client() as client:
        assert client.status().expired_leases == 0


def test_constants_must_be_the_same_in_all_workers(dataset, start, tmp_path):
    torch.manual_seed(3)
    module = Tied()
    cluster = start(make_job(module, dataset, tmp_path))

    def interrupt(output, target):
        raise Interrupt

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
