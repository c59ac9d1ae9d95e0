"""Messages arrive as they were sent, and hold nothing that would have to be unpickled."""

from __future__ import annotations

import numpy as np
import pytest

from poolwise.engine.wire import pack, unpack
from poolwise.kernels.points import Points
from poolwise.types import Picks, Selection


def test_values_arrive_with_type_shape_and_order():
    sent = {
        "none": None,
        "numbers": (1, -2.5, True, float("inf")),
        "text": ["a", "ü", ""],
        "arrays": (np.arange(6, dtype=np.int64).reshape(2, 3), np.zeros((0, 4), dtype=np.float32)),
        "transposed": np.arange(6, dtype=np.float16).reshape(2, 3).T,
        "mask": np.array([True, False]),
        "scalar": np.float32(0.1),
    }
    got = unpack(pack(sent))
    assert got["none"] is None and got["numbers"] == (1, -2.5, True, float("inf")) and got["text"] == ["a", "ü", ""]
    for a, b in zip(sent["arrays"], got["arrays"], strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)
    assert np.array_equal(got["transposed"], sent["transposed"]) and got["mask"].tolist() == [True, False]
    assert got["scalar"] == np.float32(0.1) and got["scalar"].dtype == np.float32


def test_records_travel_with_their_fields():
    points = Points(np.eye(2, dtype=np.float32), np.ones(2, dtype=np.float32), top=np.array([0, 1]), bias=1.0)
    got = unpack(pack((points, Picks(np.array([3]), notes={"passes": 2}))))
    assert isinstance(got[0], Points) and got[0].e is None and got[0].bias == 1.0
    assert np.array_equal(got[0].h, points.h) and got[1].indices.tolist() == [3] and got[1].notes == {"passes": 2}


def test_a_past_batch_travels():
    sent = Selection(np.array([4, 2]), None, "albl", {"k": (1, 2)}, 3, 0.5, {"p": np.ones(2)}, {"why": "x"}, ("a", "b"))
    (got,) = unpack(pack((sent,)))
    assert isinstance(got, Selection) and got.to_dict() == sent.to_dict() and got.item_ids == ("a", "b")


def test_an_array_that_occurs_twice_is_sent_once():
    x = np.zeros(10_000)
    assert len(pack([x, x, x])) < 2 * x.nbytes


def test_received_arrays_can_be_written():
    got = unpack(pack(np.zeros(3)))
    got[0] = 1
    assert got.tolist() == [1, 0, 0]


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array([None]), pytest])
def test_other_objects_are_refused(value):
    with pytest.raises(TypeError, match="cannot be sent"):
        pack(value)
