import struct
import tracemalloc

import pytest

from jaxseg.pretrained.readers import pickle_machine, pickled
from jaxseg.pretrained.readers.entries import Malformed
from jaxseg.pretrained.readers.pickle_machine import Call, Persistent, Reference
from tests.pretrained.torch_writer import Pickler, Raw, State


def load(data, at=0):
    return pickled.load(memoryview(data), at)


def body(*opcodes):
    return b"\x80\x02" + b"".join(opcodes) + b"."


def test_plain_values_come_back():
    value = {
        "epoch": 7,
        "numbers": [0, 255, 256, 65_536, -1, 1 << 40, -(1 << 40), 0.1],
        "nested": {1: (), 2: (1,), 3: (1, 2), 4: (1, 2, 3), 5: (1, 2, 3, 4)},
        "flags": [True, False, None],
        "text": "Gr\u00fc\u00dfe",
        "ordered": State({"b": 1, "a": 2}),
        "empty": [{}, [], State()],
    }
    data = Pickler().dump(value)
    assert load(data) == (value, len(data))
    assert list(load(data)[0]["ordered"]) == ["b", "a"]
    assert load(b"before" + data + b"after", 6) == (value, 6 + len(data))


def test_newer_opcodes_come_back():
    framed = b"\x8c\x01a\x94K\x05\x94h\x00\x8f(K\x01K\x02\x90\x87"
    data = b"\x80\x04\x95" + struct.pack("<Q", len(framed) + 1) + framed + b"."
    assert load(data)[0] == (5, "a", [1, 2])
    assert load(b"\x80\x04\x8e" + struct.pack("<Q", 2) + b"hi.")[0] == b"hi"
    assert load(body(b"(K\x01K\x02\x91"))[0] == [1, 2]


def test_strings_of_python_2_come_back():
    assert load(body(b"U\x03abc"))[0] == "abc"
    assert load(body(b"U\x01\xe9"))[0] == "\u00e9"
    pairs = b"]" + b"(]" + b"(U\x01aK\x01e" + b"]" + b"(U\x01bK\x02e" + b"e"
    ordered = body(b"ccollections\nOrderedDict\n", pairs, b"\x85R")
    assert load(ordered)[0] == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cos\nsystem\n(X\x0c\x00\x00\x00touch brokent",
        b"cbuiltins\neval\nX\x0c\x00\x00\x00touch broken\x85",
        b"\x8c\x02os\x8c\x06system\x93\x8c\x0ctouch broken\x85",
    ],
)
@pytest.mark.parametrize("call", [b"R", b"\x81", b"}\x92"])
def test_what_would_be_called_is_only_noted(opcodes, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value, _ = load(body(opcodes, call, b"}b"))
    assert isinstance(value, Call) and value.function in ("os.system", "builtins.eval")
    assert value.args == ("touch broken",)
    assert not list(tmp_path.iterdir())


def test_references_and_identities_are_only_noted():
    persistent = []
    data = memoryview(body(b"(ctorch\nFloatStorage\nX\x01\x00\x00\x000Qt"))
    (reference, identity), _ = pickled.load(data, 0, persistent)
    assert isinstance(reference, Reference) and reference.name == "torch.FloatStorage"
    assert isinstance(identity, Persistent) and identity.identity == "0"
    assert persistent == [identity]


def test_items_of_unknown_mappings_are_kept():
    value, _ = load(body(b"cmine\nDict\n)R", b"X\x01\x00\x00\x00aK\x01s"))
    assert value.function == "mine.Dict" and value.items == {"a": 1}


def test_keys_cannot_be_made_to_collide():
    big = b"\x8a\x09" + (1 << 64).to_bytes(9, "little")
    value, _ = load(body(b"}(", b"K\x01K\x01", big, b"K\x02", b"K\x03\x85K\x03", b"u"))
    assert sorted(value.values()) == [1, 2, 3]
    assert [key for key in value if isinstance(key, int | tuple)] == [1]


def test_lists_may_contain_themselves():
    value, _ = load(body(b"]q\x00h\x00a"))
    assert value[0] is value


@pytest.mark.parametrize(
    "nest", [b"]" * 100_000 + b"a" * 99_999, b")" + b"\x85" * 10**5]
)
def test_deep_nesting_is_read_and_freed(nest):
    value, _ = load(body(nest))
    depth = 0
    while value:
        (value,), depth = value, depth + 1
    assert depth >= 99_999


def test_shared_parts_are_not_copied():
    # Each of 60 tuples has the one before twice: 2 ** 60 strings if written out.
    data = body(b"X\x03\x00\x00\x00lol", b"".join(b"2\x86" for _ in range(60)))
    value, _ = load(data)
    for _ in range(60):
        assert value[0] is value[1]
        value = value[0]
    assert value == "lol"


@pytest.mark.parametrize(
    "opcodes, message",
    [
        (b"\x8b\xff\xff\xff\x7f1", "integer of 2147483647 bytes"),
        (b"\x8b\xff\xff\xff\xff1", "integer of -1 bytes"),
        (b"\x8a\x40" + b"1" * 64, "integer of 64 bytes"),
        (b"X\xff\xff\xff\xff", "wants 4294967295 bytes"),
        (b"\x8d" + b"\xff" * 8, "wants 18446744073709551615 bytes"),
        (b"\x95" + b"\xff" * 8, "cut short in its frame"),
        (b"c" + b"a" * 1000 + b"\nb\n", "names something endless"),
        (b"K\x01K\x02\x93", "by no name"),
        (b"h\x05", "refers to nothing"),
        (b")r\xff\xff\xff\xff", "remembers out of order"),
        (b"t", "without a mark"),
        (b"R", "takes what is not there"),
        (b"(K\x01(\x86", "takes what is not there"),
        (b"", "takes what is not there"),
        (b"K\x01K\x02R", "calls without arguments"),
        (b"K\x01K\x02a", "appends to no list"),
        (b"K\x01K\x02K\x03s", "sets items of no dict"),
        (b"}(K\x01u", "sets items of no dict"),
        (b"ccollections\nOrderedDict\nK\x01\x85R", "no list of pairs"),
        (b"ccollections\nOrderedDict\n]K\x01a\x85R", "no list of pairs"),
        (b"I12\n", "opcode 0x49 at byte 2"),
        (b"\x82\x01", "opcode 0x82"),
        (b"\x80\x06", "protocol 6"),
        (b"(" * 70_000, "marks are too deep"),
        (b"N" * 1_100_000, "stack is too deep"),
        (b"}" * 1_000_000, "grows too large"),
    ],
)
def test_hostile_pickles_are_refused(opcodes, message):
    with pytest.raises(Malformed, match=message):
        load(body(opcodes))


@pytest.mark.parametrize("unit", [b"}", b"(l", b")\x85q\x00", b"J\1\1\1\1", b"\x8c\0"])
def test_memory_is_bounded_by_the_file(unit, monkeypatch):
    # The true limit is sixteen times as high, which takes seconds to trace.
    monkeypatch.setattr(pickle_machine, "_BASE_ROOM", 2 << 20)
    data = b"\x80\x02" + unit * 100_000
    tracemalloc.start()
    with pytest.raises(Malformed):
        load(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * len(data) + (64 << 20 >> 4)


def test_endless_programs_are_refused(monkeypatch):
    monkeypatch.setattr(pickled, "_MOST_OPCODES", 1000)
    assert load(body(b"N0" * 400, b"N"))[0] is None
    with pytest.raises(Malformed, match="more than 1000 opcodes"):
        load(body(b"N0" * 600, b"N"))


def test_every_cut_is_refused():
    data = Pickler().dump({"a": [1, 2.0, "three"], "b": Raw(b"cos\nsystem\n)R")})
    for size in range(len(data)):
        with pytest.raises(Malformed):
            load(data[:size])
