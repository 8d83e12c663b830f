# SPDX-License-Identifier: Apache-2.0
"""Files of initial weights: written, hashed, refused, and read by servers."""

import dataclasses
import hashlib
import json
import os
import pathlib
import struct
import time

import numpy as np
import pytest

import helpers
import percentdelta as pd


def read(path):
    """{name: array} of a safetensors file, by the format's description."""
    data = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    assert length % 8 == 0
    header = json.loads(data[8:8 + length])
    arrays = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32"
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[8 + length + begin:8 + length + end], "<f4")
        arrays[name] = values.reshape(entry["shape"])
    return arrays


def test_save_writes_what_others_read(tmp_path):
    arrays = {"a/w": np.arange(12, dtype=np.float64).reshape(3, 4), "scale": np.float32(3),
              "transposed": np.arange(24, dtype=np.float16).reshape(4, 6).T, "ä": [0.5, -0.0],
              "big": np.linspace(0, 1, 700001, dtype=np.float32),
              "swapped": np.arange(3).astype(">f4")}
    weights = pd.initial_weights.save(tmp_path / "w.safetensors", arrays)
    assert weights.file == str(tmp_path / "w.safetensors")
    found = read(weights.file)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        expected = np.asarray(array, np.float32)
        assert found[name].shape == expected.shape
        assert found[name].tobytes() == expected.tobytes()
    data = pathlib.Path(weights.file).read_bytes()
    assert weights.sha256 == hashlib.sha256(data).hexdigest()
    assert pd.InitialWeights.of(tmp_path / "w.safetensors") == weights
    assert os.listdir(tmp_path) == ["w.safetensors"]


def test_save_replaces_and_follows_links(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to("file")
    monkeypatch.chdir(tmp_path)
    first = pd.initial_weights.save("link", {"a": [1.0]})
    second = pd.initial_weights.save("link", {"a": [2.0]})
    assert first.file == second.file == str(tmp_path / "link") and first != second
    assert (tmp_path / "link").is_symlink() and pd.InitialWeights.of("file").sha256 == second.sha256
    with pytest.raises(pd.JobError):
        pd.initial_weights.save("link", {"a": [np.nan]})
    assert pd.InitialWeights.of("link") == second
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]


@pytest.mark.parametrize("arrays, message", [
    ({}, "initial weights: expected at least one tensor, got none"),
    ({"__metadata__": [1.0]},
     "initial weights: expected the name of a tensor, got '__metadata__'"),
    ({3: [1.0]}, "initial weights: expected the name of a tensor, got 3"),
    ({"a": [1]}, 'initial weights: tensor "a": expected floating-point numbers, got int64'),
    ({"a": [1j]}, 'initial weights: tensor "a": expected floating-point numbers, got complex128'),
    ({"a": [[0.0, 1.0], [np.inf, 1.0]]},
     'initial weights: tensor "a": entry 2: expected a finite float32, got inf'),
    ({"a": [1e39]}, 'initial weights: tensor "a": entry 0: expected a finite float32, got inf'),
], ids=["none", "reserved", "number", "integers", "complex", "infinite", "overflow"])
def test_what_save_refuses(arrays, message, tmp_path):
    with pytest.raises(pd.JobError) as error:
        pd.initial_weights.save(tmp_path / "w", arrays)
    assert str(error.value) == message
    assert not os.listdir(tmp_path)


def test_paths_that_cannot_be_used(tmp_path):
    with pytest.raises(pd.JobError, match="cannot write .*/none/w: No such file or directory$"):
        pd.initial_weights.save(tmp_path / "none" / "w", {"a": [1.0]})
    with pytest.raises(pd.JobError, match="cannot write .*: Is a directory$"):
        pd.initial_weights.save(tmp_path, {"a": [1.0]})
    with pytest.raises(pd.JobError, match="cannot read the file of initial weights .*/w: No such"):
        pd.InitialWeights.of(tmp_path / "w")
    with pytest.raises(pd.JobError, match="cannot read .*: Is a directory$"):
        pd.InitialWeights.of(tmp_path)
    assert not os.listdir(tmp_path)


def test_in_a_job(tmp_path):
    job = helpers.small_job()
    weights = pd.InitialWeights(tmp_path / "w", "AB" * 32)
    assert weights == pd.InitialWeights(str(tmp_path / "w"), "ab" * 32)
    with pytest.raises(pd.JobError) as error:
        dataclasses.replace(job, initial_weights=weights)
    assert str(error.value) == ('job: model.tensors "conv/weights" initializer: expected none '
                                'besides initial_weights, got truncated_normal')
    started = dataclasses.replace(job, initial_weights=weights,
                                  model=job.model.without_initializers())
    assert pd.Job.from_text(started.to_text()) == started


def test_tensors_without_initializer_are_zeros():
    job = helpers.small_job(model=pd.Model("x", (pd.Tensor("a", (2,)), pd.Tensor("b"))))
    assert [tensor.initializer for tensor in job.model.tensors] == [pd.Constant(0.0)] * 2
    assert pd.Job.from_text(job.to_text()) == job


def arrays_of(job):
    """Random weights for every tensor."""
    generator = np.random.default_rng(3)
    return {tensor.name: generator.standard_normal(tensor.shape, np.float32)
            for tensor in job.model.tensors}


def from_file(job, weights):
    """The job, with initial weights."""
    return dataclasses.replace(job, initial_weights=weights,
                               model=job.model.without_initializers())


@pytest.mark.parametrize("shards", [1, 3])
def test_a_training_starts_with_them(shards, job, tmp_path, percentdelta_cluster):
    arrays = arrays_of(job)
    # Others may be in the file, in another order.
    written = {"other": np.zeros(3, np.float32), **dict(reversed(list(arrays.items())))}
    job = from_file(job, pd.initial_weights.save(tmp_path / "w", written))
    with percentdelta_cluster(job, shards).client() as client:
        assert client.job() == job
        weights = client.weights(0)
    assert list(weights) == list(arrays)
    for name, array in arrays.items():
        assert weights[name].shape == array.shape
        assert weights[name].tobytes() == array.tobytes()


def test_half_precision_is_widened(job, tmp_path, percentdelta_cluster):
    arrays = {name: array.astype(np.float16) for name, array in arrays_of(job).items()}
    header, data = {}, b""
    for name, array in arrays.items():
        header[name] = {"dtype": "F16", "shape": array.shape,
                        "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    (tmp_path / "w").write_bytes(struct.pack("<Q", len(text)) + text + data)
    job = from_file(job, pd.InitialWeights.of(tmp_path / "w"))
    with percentdelta_cluster(job).client() as client:
        weights = client.weights(0)
    for name, array in arrays.items():
        assert np.array_equal(weights[name], array.astype(np.float32))


def test_a_file_that_has_changed_is_refused(job, tmp_path):
    arrays = arrays_of(job)
    job = from_file(job, pd.initial_weights.save(tmp_path / "w", arrays))
    arrays["scale"] = np.float32(2)
    pd.initial_weights.save(tmp_path / "w", arrays)
    with pytest.raises(pd.UnavailableError,
                       match=f"{tmp_path}/w: expected SHA-256 {job.initial_weights.sha256}, got"):
        pd.LocalCluster(job)
    (tmp_path / "w").unlink()
    with pytest.raises(pd.UnavailableError, match="No such file or directory; all servers must"):
        pd.LocalCluster(job, shards=2)


def test_a_training_that_starts_again(job, tmp_path, percentdelta_cluster):
    job = from_file(job, pd.initial_weights.save(tmp_path / "w", arrays_of(job)))
    cluster = percentdelta_cluster(job, 2)
    with cluster.client() as client:
        before = client.checksum(0)
        generation = client.status().generation
    cluster.kill(1)
    cluster.restart(1)
    give_up = time.monotonic() + 20
    with cluster.client() as client:
        while client.status().generation in (0, generation):
            assert time.monotonic() < give_up
            time.sleep(0.01)
        assert client.checksum(0) == before
