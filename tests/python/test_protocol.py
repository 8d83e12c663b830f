# SPDX-License-Identifier: Apache-2.0
"""The classes of messages."""

import gc
import weakref

import pytest

from percentdelta import _protocol


@pytest.mark.parametrize("name", ["Lease", "GetJobResponse", "Tensor"])
def test_a_class_of_messages_is_never_collected(name):
    # protobuf 7.36 crashes a thread that asks for a class while another thread collects it.
    seen = weakref.ref(_protocol.message(name))
    gc.collect()
    assert seen() is _protocol.message(name)


def test_nor_is_that_of_a_field():
    def class_of_field():
        return type(_protocol.message("GetJobResponse")().job)

    seen = weakref.ref(class_of_field())
    gc.collect()
    assert seen() is class_of_field()
