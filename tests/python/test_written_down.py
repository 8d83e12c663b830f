# SPDX-License-Identifier: Apache-2.0
"""What is written down to the last bit: random numbers, batches. The values are those of
tests/common/base/random_test.cc and tests/worker/data/batches_test.cc."""

import numpy as np
import pytest

import percentdelta as pd
from percentdelta import random_numbers
from percentdelta.batches import BatchSource, epoch_order, gradient_key

GAMMA = 0x9E3779B97F4A7C15


def test_mixing_is_splitmix64():
    assert random_numbers.mix64(0) == 0
    assert random_numbers.mix64(1) == 0x5692161D100B05E5
    assert random_numbers.mix64(GAMMA) == 0xE220A8397B1DCDAF
    assert random_numbers.mix64(2 * GAMMA % 2**64) == 0x6E789E6AA1B965F4


def test_hashes():
    assert random_numbers.hash64(0, 0) == 0x48218226FF3CD4BF
    assert random_numbers.hash64(1, 2) == 0x081A5C1377856B73
    assert random_numbers.hash_string("") == 0xCBF29CE484222325
    assert random_numbers.hash_string("conv1/weights") == 0x2310A431240411C0


def test_stream():
    stream = pd.RandomStream(1, 2)
    assert [stream.next() for _ in range(3)] == [0xD2F6D0470BE1A7B1, 0xE5EA3DCCF500A9AF,
                                                 0x57B834B23CDC9D17]
    assert pd.RandomStream(1, 2).uniform() == 0.82407857641727
    assert pd.RandomStream(1, 2).uniforms(3).tolist() == [0.82407857641727, 0.8981054902442361,
                                                          0.3426545081282363]


def test_arrays_are_what_single_draws_are():
    one, many = pd.RandomStream(3, 4), pd.RandomStream(3, 4)
    many.take(5)
    assert many.take(3).tolist() == [one.next() for _ in range(8)][5:]
    assert many.next() == one.next()


def test_below():
    stream = pd.RandomStream(1, 2)
    assert [stream.below(10) for _ in range(12)] == [5, 7, 1, 8, 5, 9, 6, 0, 4, 1, 0, 1]
    bound = 2**63 + 1  # almost every second number is drawn again
    expected = [0x52F6D0470BE1A7B0, 0x65EA3DCCF500A9AE, 0x6B3AA0CE549FEC8B]
    stream = pd.RandomStream(1, 2)
    assert [stream.below(bound) for _ in range(3)] == expected
    stream = pd.RandomStream(1, 2)
    assert stream.take_below(np.full(3, bound, np.uint64)).tolist() == expected
    single = pd.RandomStream(1, 2)
    bounds = [bound, 7, bound, bound + 5, 1, 2**64 - 1] * 20
    stream = pd.RandomStream(1, 2)
    assert stream.take_below(np.array(bounds, np.uint64)).tolist() == [
        single.below(each) for each in bounds]
    assert stream.next() == single.next()


def test_epoch_order():
    assert epoch_order(1, 0, 10).tolist() == [5, 3, 6, 7, 8, 1, 0, 9, 2, 4]
    assert epoch_order(1, 1, 10).tolist() == [1, 0, 3, 6, 2, 4, 7, 9, 5, 8]
    assert epoch_order(1, 0, 60000)[:6].tolist() == [38531, 2915, 34580, 35253, 1297, 51579]
    assert epoch_order(3, 4, 0).tolist() == []
    assert epoch_order(3, 4, 1).tolist() == [0]


def test_batches_do_not_depend_on_what_was_asked_before():
    source = BatchSource(1, 10)
    assert source.examples(0, 1, 4).tolist() == [8, 1, 0, 9]
    assert source.examples(1, 1, 3).tolist() == [6, 2, 4]
    assert source.examples(0, 2, 4).tolist() == [2, 4]
    with pytest.raises(ValueError):
        source.examples(0, 0, 4)[0] = 1


def test_gradient_key():
    expected = random_numbers.hash64(5, random_numbers.hash64(
        random_numbers.hash_string("gradient"), random_numbers.hash64(6, 7)))
    assert gradient_key(5, 6, 7) == expected
