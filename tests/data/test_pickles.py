"""Plain data comes through, and nothing that a pickle asks for is run."""

from __future__ import annotations

import collections
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refersat.data.pickles import load_plain
from refersat.errors import UserError

PATH = Path("data/refs(unc).p")

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=15,
)


@settings(max_examples=100, deadline=None)
@given(value=VALUES, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_data_comes_through(value, protocol):
    assert load_plain(pickle.dumps(value, protocol), PATH) == value


def test_a_pickle_of_python_2_is_read():
    """Its texts are bytes there, and one of them is not UTF-8."""
    content = b"(lp0\n(dp1\nS'raw'\np2\nS'The caf\\xc3\\xa9'\np3\nsS'sent'\np4\nS'\\xff'\np5\nsa."
    assert load_plain(content, PATH) == [{"raw": "The caf\u00e9", "sent": "\ufffd"}]


class Runs:
    """Writes a file when unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile(mark: Path) -> dict[str, bytes]:
    """Pickles that make `mark`, in several ways, if they are read without care."""
    command = f"touch {mark}"
    name = b"c" + os.system.__module__.encode() + b"\nsystem\n"
    return {
        "reduce": pickle.dumps([{"image_id": 1, "x": Runs(os.system, command)}]),
        "eval": pickle.dumps(Runs(eval, f"open({str(mark)!r}, 'w')")),
        "global": name + b"(S" + repr(command).encode() + b"\ntR.",
        "inst": b"(S" + repr(command).encode() + b"\ni" + os.system.__module__.encode() + b"\nsystem\n.",
        "obj": b"(" + name + b"S" + repr(command).encode() + b"\no.",
        "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + b"\x8c" + bytes([len(command)])
        + command.encode() + b"\x85R.",
        "newobj": b"\x80\x02cpathlib\nPath\n(S" + repr(str(mark)).encode() + b"\nt\x81.",
        "build": b"\x80\x02crefersat.errors\nUserError\n)\x81}b.",
    }  # fmt: skip


def test_hostile_pickles_are_refused_and_run_nothing(tmp_path):
    mark = tmp_path / "mark"
    contents = hostile(mark)
    for content in contents.values():
        with pytest.raises(UserError, match=r"refs\(unc\)\.p is not read: .*could run anything"):
            load_plain(content, PATH)
        assert not mark.exists()
    pickle.loads(contents["eval"]).close()  # the mark is made where nobody takes care
    assert mark.exists()


@pytest.mark.parametrize("value", [collections.OrderedDict(a=1), np.int64(3), np.zeros(2), Path("a"), {1: {2: 1j}}])
def test_nothing_but_plain_data_is_made(value):
    with pytest.raises(UserError, match="holds plain data, but this pickle calls for"):
        load_plain(pickle.dumps(value), PATH)


def test_a_persistent_reference_is_refused():
    with pytest.raises(UserError, match="calls for an object outside of it"):
        load_plain(b"Psomething\n.", PATH)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle at all",
        pickle.dumps([1, 2, 3])[:-2],
        b"\x80\x7f.",
        b".",
        b"\x80\x02\x82\x01.",  # an extension that nobody registered
        b"\x80\x02]r\xff\xff\xff\xff.",  # asks for a memory of 4 billion places
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x.",
    ],
)
def test_what_is_no_pickle_is_explained(content):
    with pytest.raises(UserError, match=r"refs\(unc\)\.p is no pickle, or is damaged"):
        load_plain(content, PATH)
