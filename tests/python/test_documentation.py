# SPDX-License-Identifier: Apache-2.0
"""docs/python.md: its Python runs, and does what it says."""

import re

import numpy as np
import pytest

import helpers
import percentdelta as pd

PAGE = (helpers.ROOT / "docs/python.md").read_text(encoding="utf-8")
ALL_SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.S)
SNIPPETS = [snippet for snippet in ALL_SNIPPETS if "import torch" not in snippet]


def test_all_are_known():
    assert len(SNIPPETS) == 5
    assert len(ALL_SNIPPETS) == 6 and ALL_SNIPPETS[0] not in SNIPPETS


def test_the_pytorch_module_learns(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch", reason="PyTorch is not installed: deploy/install-packages torch")
    monkeypatch.chdir(tmp_path)
    exec(compile(ALL_SNIPPETS[0], "docs/python.md", "exec"), {})
    checksum, accuracy = capsys.readouterr().out.splitlines()
    assert re.fullmatch("[0-9a-f]{64}", checksum)
    assert float(accuracy[len("tensor("):-1]) > 0.95
    assert (tmp_path / "quadrants.safetensors").is_file()


@pytest.fixture(name="names", scope="module")
def fixture_names():
    """What the page has defined up to its end."""
    names = {}
    for snippet in SNIPPETS:
        exec(compile(snippet, "docs/python.md", "exec"), names)
    return names


def test_the_first_worker_learns(names, capsys):
    exec(compile(SNIPPETS[0], "docs/python.md", "exec"), dict(names))
    output = capsys.readouterr().out
    checksum = output.splitlines()[-1]
    assert re.fullmatch("[0-9a-f]{64}", checksum)
    weights = np.array(re.search(r"linear/weights': array\(\[(.*?)\]", output).group(1).split(","),
                       float)
    np.testing.assert_allclose(weights, [1, -2, 3], atol=1e-3)


def test_the_message_of_a_bad_job(names, capsys):
    exec(compile(SNIPPETS[1], "docs/python.md", "exec"), dict(names))
    assert capsys.readouterr().out.strip() == re.search("# (job: job: .*)", PAGE).group(1)


def test_looking_at_a_training(names, percentdelta_cluster, capsys):
    cluster = percentdelta_cluster(names["job"])
    with pd.Worker(cluster.address) as worker:
        for lease in worker:
            with lease:
                helpers.work(lease)
    names["look"](cluster.address)
    assert "finished 100" in capsys.readouterr().out


def test_tensor_by_tensor(names, percentdelta_cluster):
    class Layer:
        """Gradients of ones."""

        def __init__(self, name):
            self.name = name

        def forward(self, weights):
            self.shape = weights.shape

        def backward(self):
            return np.ones(self.shape, np.float32)

    job = helpers.small_job(
        model=pd.Model("m", [pd.Tensor(f"{name}/weights", (3,)) for name in "abc"]))
    with pd.Worker(percentdelta_cluster(job).address) as worker:
        for lease in worker:
            with lease:
                names["forward_and_backward"](lease, [Layer(name) for name in "abc"])
                lease.complete(1.0)


def test_every_name_of_the_page_is_there():
    for name in re.findall(r"`(?:pd\.)?([A-Z][a-z][A-Za-z]*)(?:\(|`)", PAGE):
        assert hasattr(pd, name) or name in ("False", "Summary"), name
    methods = set(re.findall(r"(?:client|lease|worker|cluster)\.(\w+)\(", PAGE))
    kinds = (pd.Client, pd.Lease, pd.Worker, pd.LocalCluster)
    assert [name for name in methods if not any(hasattr(kind, name) for kind in kinds)] == []
