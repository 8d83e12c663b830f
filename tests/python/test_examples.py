# SPDX-License-Identifier: Apache-2.0
"""Each example runs as a user would start it, on small data made here, and learns."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import helpers
import percentdelta as pd

EXAMPLES = helpers.ROOT / "client/python/examples"


def needs(*modules):
    """A mark: skips where a module is missing, and says so."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def make_digits(folder, prefix, count, generator, prototypes):
    """Ten classes of noisy images: as MNIST's files."""
    labels = generator.integers(0, 10, count)
    images = np.clip(prototypes[labels] + generator.normal(0, 20, (count, 28, 28)), 0, 255)
    write_idx(folder / f"{prefix}-images-idx3-ubyte", images)
    write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels)


@pytest.fixture(name="images", scope="module")
def fixture_images(tmp_path_factory):
    """A folder as MNIST's, of images that are blurred like real ones and easy to learn."""
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(1)
    prototypes = np.kron(generator.integers(0, 256, (10, 7, 7)), np.ones((4, 4)))
    make_digits(folder, "train", 1000, generator, prototypes)
    make_digits(folder, "t10k", 200, generator, prototypes)
    return folder


def run(example, *options, fails=False):
    """The example's output; of one that is to fail, its error."""
    result = subprocess.run([sys.executable, "-B", str(EXAMPLES / example), *map(str, options)],
                            capture_output=True, text=True, check=False, timeout=300)
    assert (result.returncode != 0) == fails, result.stdout + result.stderr
    return result.stderr if fails else result.stdout


def accuracies(output):
    """{step: accuracy on the test set} of the last training in the output."""
    found = [(int(step), float(value)) for step, value in re.findall(
        r"^step +(\d+): test loss [0-9.]+, accuracy ([0-9.]+)$", output, re.M)]
    last = max(i for i, (step, _) in enumerate(found) if step == 0)
    return dict(found[last:])


SMALL = ("--threads=1", "--batch-size=50")


def test_softmax_regression(tmp_path):
    example = EXAMPLES / "softmax_mnist.py"
    assert len(example.read_text(encoding="utf-8").splitlines()) < 50
    generator = np.random.default_rng(1)
    prototypes = generator.integers(0, 256, (10, 28, 28))
    make_digits(tmp_path, "train", 1000, generator, prototypes)
    make_digits(tmp_path, "t10k", 1000, generator, prototypes)
    program = f"import softmax_mnist; softmax_mnist.main({str(tmp_path)!r}, steps=20)"
    path = os.pathsep.join(filter(None, [str(example.parent), os.environ.get("PYTHONPATH", "")]))
    result = subprocess.run([sys.executable, "-B", "-c", program], capture_output=True, text=True,
                            check=False, timeout=60, env={**os.environ, "PYTHONPATH": path})
    assert result.returncode == 0, result.stderr
    accuracies = re.findall(r"^step (\d+): loss .*, accuracy ([0-9.]+)$", result.stdout, re.M)
    assert [int(step) for step, _ in accuracies] == [0, 5, 10, 15, 20]
    assert float(accuracies[-1][1]) > 0.9 > float(accuracies[0][1])


@needs("torch")
def test_mnist_in_pytorch(images):
    found = accuracies(run("mnist_torch.py", f"--data={images}", "--steps=16", *SMALL))
    assert list(found) == [0, 4, 8, 12, 16]
    assert found[16] > 0.8 > 0.5 > found[0]


@needs("torch")
def test_resnet(images):
    found = accuracies(run("resnet_fashion_mnist.py", f"--data={images}", "--steps=20",
                           "--num-workers=1", *SMALL))
    assert list(found) == [0, 5, 10, 15, 20]
    assert found[20] > 0.5 > found[0]


@needs("torch")
def test_fine_tuning(images, tmp_path):
    weights = tmp_path / "weights.safetensors"
    options = (f"--data={images}", "--steps=4", "--first-steps=10", "--examples=100",
               f"--weights={weights}", *SMALL)
    made = run("fine_tuning.py", *options)
    sha256 = re.search(r"weights.safetensors, SHA-256 ([0-9a-f]{64})$", made, re.M).group(1)
    assert pd.InitialWeights.of(weights).sha256 == sha256
    parts = re.split(r"^(digits-0-4|fine-tuning|from-random-weights): .*\n", made, flags=re.M)[1:]
    texts = dict(zip(parts[::2], parts[1::2]))
    assert accuracies(texts["digits-0-4"])[10] > 0.6
    # Which of them ends lower is chance after so few steps on made-up images.
    losses = {name: [float(loss) for loss in re.findall(r"test loss ([0-9.]+)", text)]
              for name, text in texts.items()}
    assert losses["fine-tuning"][0] != losses["from-random-weights"][0]
    assert losses["fine-tuning"][-1] < losses["fine-tuning"][0]
    again = run("fine_tuning.py", *options, "--freeze")
    assert "digits-0-4:" not in again and "fine-tuning: 100 examples" in again


@needs("torch")
def test_transformer(tmp_path):
    text = tmp_path / "text"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 600, encoding="utf-8")
    numbers, picture = tmp_path / "numbers.json", tmp_path / "layers.png"
    draws = importlib.util.find_spec("matplotlib") is not None
    output = run("transformer_bible.py", f"--text={text}", "--steps=16", "--width=16", "--heads=2",
                 "--layers=1", "--context=16", "--threads=1", "--write=20", f"--save={numbers}",
                 *([f"--plot={picture}"] if draws else []))
    assert re.findall(r"^(\w+):$", output, re.M) == ["SGD", "PercentDelta", "Adam"]
    results = json.loads(numbers.read_text(encoding="utf-8"))
    spread = {}
    for rule, result in results.items():
        assert result["test_loss"][0][1] > result["test_loss"][-1][1], rule
        assert len(result["layers"]) == 10 and len(result["loss"]) == 16
        medians = [np.median(changes) for changes in result["layers"].values()]
        spread[rule] = max(medians) / min(medians)
    assert spread["PercentDelta"] < spread["Adam"] < spread["SGD"]
    if draws:
        assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(shutil.which("bible") is None, reason="needs deploy/install-packages bible")
def test_the_text():
    program = "import data; t = data.text(); print(len(t), len(set(t)), t[:24])"
    result = subprocess.run([sys.executable, "-B", "-c", program], capture_output=True, text=True,
                            check=True, timeout=60, cwd=EXAMPLES)
    assert result.stdout == "4137850 63 In the beginning God cre\n"


@needs("jax")
def test_mnist_in_jax(images):
    found = accuracies(run("jax_mnist.py", f"--data={images}", "--steps=20", "--hidden=32"))
    assert list(found) == [0, 5, 10, 15, 20]
    assert found[20] > 0.9 > found[0]


@needs("torch")
def test_servers_of_ones_own(images, tmp_path, percentdelta_cluster):
    options = (f"--data={images}", "--steps=4", *SMALL)
    output = run("mnist_torch.py", *options, f"--write-job={tmp_path}")
    path = re.search(r"--job=(\S+)", output).group(1)
    cluster = percentdelta_cluster(pd.Job.from_file(path))
    found = accuracies(run("mnist_torch.py", *options, f"--address={cluster.address}"))
    assert list(found) == [0, 1, 2, 3, 4]


@needs("torch")
@pytest.mark.parametrize("example", ["mnist_torch.py", "resnet_fashion_mnist.py",
                                     "fine_tuning.py"])
def test_says_where_data_come_from(example, tmp_path):
    error = run(example, f"--data={tmp_path}", fails=True)
    assert "Traceback" not in error
    assert f"in {tmp_path}: get " in error and "`deploy/" in error


@needs("torch")
def test_options():
    """Of all at once, because each needs seconds to import PyTorch."""
    wanted = {
        ("mnist_torch.py", "--help"): "--steps STEPS",
        ("fine_tuning.py", "--freeze", "--steps=0"): "expected a whole number of at least 1, got",
        ("transformer_bible.py", "--rules=SGD,Rprop"): "expected some of SGD,PercentDelta,Adam",
        ("transformer_bible.py", "--address=[::1]:1"): "--address: expected one of --rules"}
    running = [subprocess.Popen([sys.executable, "-B", str(EXAMPLES / example), *options],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
               for example, *options in wanted]
    for process, expected in zip(running, wanted.values()):
        assert expected in process.communicate(timeout=300)[0]


def test_readme_names_them_all():
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f"({path.name})" in readme, path.name
