"""A reader of pickles that runs nothing.

A pickle is a program for a small stack machine, and a few of its instructions import
and call whatever the file names. Here these only leave a note of what was named, so a
hostile file can at worst be refused.

Source: the opcodes of Lib/pickletools.py of CPython, those of protocols 2 to 5.
"""

import dataclasses
import struct
import sys

from jaxseg.pretrained.readers.entries import Malformed

_NEWEST_PROTOCOL = 5
_LONGEST_INTEGER = 32  # bytes
_LONGEST_REFERENCE = 256  # bytes of a module or a name
_MOST_OPCODES = 4_000_000  # a few seconds; a tensor takes about fifty
_DEEPEST_STACK = 1 << 20
_DEEPEST_MARKS = 1 << 16
_WIDEST_GAP = 256  # between the numbers of the memo, which writers count up
_LARGEST_KEY = 1 << 60  # integers below are their own hash, so few can collide
_BASE_ROOM = 32 << 20

# What values cost in bytes beyond sys.getsizeof: rounding up, and the tables that hold
# them when these have just grown.
_VALUE, _ITEM, _PAIR = 16, 16, 96

_DICTS = frozenset(("collections.OrderedDict", "builtins.dict", "__builtin__.dict"))


@dataclasses.dataclass(slots=True, eq=False, repr=False)
class Reference:
    """Hold the full name of a class or function, which is not looked up."""

    name: str


@dataclasses.dataclass(slots=True, eq=False, repr=False)
class Call:
    """Hold what a pickle wanted to call, and the items it then set on the result."""

    function: str  # "" where it is not a name
    args: tuple
    items: dict | None = None


@dataclasses.dataclass(slots=True, eq=False, repr=False)
class Persistent:
    """Hold the identity of an object that is stored beside the pickle."""

    identity: object


def load(
    data: memoryview, at: int = 0, persistent: list[Persistent] | None = None
) -> tuple[object, int]:
    """Return the value of the pickle that starts at a byte, and where it ends.

    Every reference to an object beside the pickle is added to the list `persistent`.

    Numbers, strings, lists, tuples and dicts come as they are, an OrderedDict as a
    dict and a set as a list; everything else as Reference, Call and Persistent. Values
    may share parts and contain themselves. The state that objects are given is dropped,
    and a key that is neither a string nor a small integer becomes a plain object.

    Raises:
      Malformed: not a pickle, cut short, or one that needs more than twice the bytes
        of `data` and 32 MiB, or millions of opcodes.
    """
    machine = _Machine(data, at, [] if persistent is None else persistent)
    for _ in range(_MOST_OPCODES):
        code = machine.byte()
        if code == _STOP:
            return machine.pop(), machine.at
        machine.step(code)
    raise Malformed(f"a pickle of more than {_MOST_OPCODES} opcodes")


class _Machine:
    def __init__(self, data: memoryview, at: int, persistent: list[Persistent]):
        self.at = at
        self._persistent = persistent
        self._data = data
        self._room = 2 * len(data) + _BASE_ROOM
        self._stack: list = []
        self._marks: list[int] = []
        self._memo: list = []

    def step(self, code: int) -> None:
        """Do what one opcode says."""
        if code in _CONSTANTS:
            self.push(_CONSTANTS[code])
        elif code in _NUMBERS:
            self.make(self.number(_NUMBERS[code]))
        elif code in _STRINGS:
            form, decode = _STRINGS[code]
            self.make(decode(self.take(self.number(form))))
        elif code in _ACTIONS:
            _ACTIONS[code](self)
        else:
            raise Malformed(f"a pickle has opcode 0x{code:02x} at byte {self.at - 1}")

    def byte(self) -> int:
        return self.take(1)[0]

    def take(self, count: int) -> memoryview:
        if count > len(self._data) - self.at:
            raise Malformed(f"a pickle wants {count} bytes at byte {self.at}, the end")
        self.at += count
        return self._data[self.at - count : self.at]

    def number(self, form: struct.Struct) -> int | float:
        return form.unpack(self.take(form.size))[0]

    def line(self) -> str:
        """Return the text up to the end of a line."""
        line, end, _ = bytes(
            self._data[self.at : self.at + _LONGEST_REFERENCE + 1]
        ).partition(b"\n")
        if not end:
            raise Malformed(f"a pickle names something endless at byte {self.at}")
        self.at += len(line) + 1
        return _text(line)

    def spend(self, cost: int) -> None:
        self._room -= cost
        if self._room < 0:
            raise Malformed(f"a pickle that grows too large by byte {self.at}")

    def push(self, value: object) -> None:
        if len(self._stack) >= _DEEPEST_STACK:
            raise Malformed(f"a pickle whose stack is too deep at byte {self.at}")
        self._stack.append(value)

    def make(self, value: object) -> None:
        self.spend(sys.getsizeof(value) + _VALUE)
        self.push(value)

    def pop(self) -> object:
        self.top()
        return self._stack.pop()

    def top(self) -> object:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise Malformed(f"a pickle takes what is not there at byte {self.at - 1}")
        return self._stack[-1]

    def mark(self) -> None:
        if len(self._marks) >= _DEEPEST_MARKS:
            raise Malformed(f"a pickle whose marks are too deep at byte {self.at}")
        self._marks.append(len(self._stack))

    def pop_to_mark(self) -> list:
        if not self._marks:
            raise Malformed(f"a pickle without a mark at byte {self.at - 1}")
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def put(self, index: int) -> None:
        growth = max(index + 1 - len(self._memo), 0)
        if growth > _WIDEST_GAP:
            raise Malformed(f"a pickle remembers out of order at byte {self.at - 1}")
        self.spend(_ITEM * growth)
        self._memo.extend([_NOTHING] * growth)
        self._memo[index] = self.top()

    def memoize(self) -> None:
        self.put(len(self._memo))

    def get(self, index: int) -> None:
        if index >= len(self._memo) or self._memo[index] is _NOTHING:
            raise Malformed(f"a pickle refers to nothing at byte {self.at - 1}")
        self.push(self._memo[index])

    def make_tuple(self, count: int) -> None:
        self.make(tuple(reversed([self.pop() for _ in range(count)])))

    def append(self, items: list) -> None:
        self.spend(_ITEM * len(items))
        target = self.top()
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Call):
            raise Malformed(f"a pickle appends to no list at byte {self.at - 1}")

    def set_items(self, flat: list) -> None:
        target = self.top()
        if isinstance(target, Call):
            if target.items is None:
                target.items = {}
                self.spend(sys.getsizeof(target.items))
            target = target.items
        self.fill(target, flat)

    def fill(self, target: object, flat: list) -> None:
        if not isinstance(target, dict) or len(flat) % 2:
            raise Malformed(f"a pickle sets items of no dict at byte {self.at - 1}")
        self.spend(_PAIR * (len(flat) // 2))
        for key, value in zip(flat[::2], flat[1::2]):
            target[_key(key)] = value

    def make_dict(self) -> None:
        flat = self.pop_to_mark()
        self.make({})
        self.fill(self.top(), flat)

    def long(self, form: struct.Struct) -> None:
        size = self.number(form)
        if not 0 <= size <= _LONGEST_INTEGER:
            raise Malformed(f"a pickle has an integer of {size} bytes at {self.at}")
        self.make(int.from_bytes(self.take(size), "little", signed=True))

    def reference(self, module: object, name: object) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise Malformed(f"a pickle names something by no name at {self.at - 1}")
        if len(module) + len(name) > 2 * _LONGEST_REFERENCE:
            raise Malformed(f"a pickle names something endless at byte {self.at - 1}")
        found = Reference(f"{module}.{name}")
        self.spend(sys.getsizeof(found.name) + _VALUE)
        self.make(found)

    def stack_reference(self) -> None:
        name, module = self.pop(), self.pop()
        self.reference(module, name)

    def call(self) -> None:
        args, function = self.pop(), self.pop()
        if not isinstance(args, tuple):
            raise Malformed(f"a pickle calls without arguments at byte {self.at - 1}")
        name = function.name if isinstance(function, Reference) else ""
        if name not in _DICTS:
            self.make(Call(name, args))
            return
        self.make({})
        # Python 2 gives an OrderedDict its items as one argument.
        for pairs in args[:1]:
            self.fill(self.top(), _flat(pairs))

    def call_with_keywords(self) -> None:
        self.pop()
        self.call()

    def refer(self) -> None:
        self.make(Persistent(self.pop()))
        self.spend(_ITEM)
        self._persistent.append(self.top())

    def frame(self) -> None:
        if self.number(_U64) > len(self._data) - self.at:
            raise Malformed(f"a pickle is cut short in its frame at byte {self.at}")

    def protocol(self) -> None:
        if (found := self.byte()) > _NEWEST_PROTOCOL:
            raise Malformed(f"a pickle of protocol {found}")


def _text(data: memoryview | bytes) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        return str(data, "latin-1")  # strings of Python 2 have no encoding


def _key(key: object) -> object:
    if isinstance(key, str):
        return key
    if isinstance(key, int) and abs(key) < _LARGEST_KEY:
        return key
    return object()


def _flat(pairs: object) -> list:
    if not isinstance(pairs, list | tuple):
        raise Malformed("a pickle makes a dict of what is no list of pairs")
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise Malformed("a pickle makes a dict of what is no list of pairs")
    return [value for pair in pairs for value in pair]


_NOTHING = object()
_STOP = ord(".")
_U8, _U16, _U32, _U64 = (struct.Struct(form) for form in ("<B", "<H", "<I", "<Q"))
_S32, _F64 = struct.Struct("<i"), struct.Struct(">d")

_CONSTANTS = {ord("N"): None, 0x88: True, 0x89: False, ord(")"): ()}
_NUMBERS = {ord("J"): _S32, ord("K"): _U8, ord("M"): _U16, ord("G"): _F64}
_STRINGS = {
    ord("U"): (_U8, _text),
    ord("T"): (_U32, _text),
    ord("X"): (_U32, _text),
    0x8C: (_U8, _text),
    0x8D: (_U64, _text),
    ord("C"): (_U8, bytes),
    ord("B"): (_U32, bytes),
    0x8E: (_U64, bytes),
    0x96: (_U64, bytes),  # a bytearray
}
_ACTIONS = {
    0x80: _Machine.protocol,
    0x95: _Machine.frame,
    ord("("): _Machine.mark,
    ord("0"): lambda m: m.pop(),
    ord("1"): lambda m: m.pop_to_mark(),
    ord("2"): lambda m: m.push(m.top()),
    ord("q"): lambda m: m.put(m.byte()),
    ord("r"): lambda m: m.put(m.number(_U32)),
    0x94: _Machine.memoize,
    ord("h"): lambda m: m.get(m.byte()),
    ord("j"): lambda m: m.get(m.number(_U32)),
    0x8A: lambda m: m.long(_U8),
    0x8B: lambda m: m.long(_S32),
    ord("t"): lambda m: m.make(tuple(m.pop_to_mark())),
    0x85: lambda m: m.make_tuple(1),
    0x86: lambda m: m.make_tuple(2),
    0x87: lambda m: m.make_tuple(3),
    0x91: lambda m: m.make(m.pop_to_mark()),  # a frozenset
    ord("]"): lambda m: m.make([]),
    0x8F: lambda m: m.make([]),  # a set
    ord("l"): lambda m: m.make(m.pop_to_mark()),
    ord("a"): lambda m: m.append([m.pop()]),
    ord("e"): lambda m: m.append(m.pop_to_mark()),
    0x90: lambda m: m.append(m.pop_to_mark()),
    ord("}"): lambda m: m.make({}),
    ord("d"): _Machine.make_dict,
    ord("s"): lambda m: m.set_items([m.pop(), m.pop()][::-1]),
    ord("u"): lambda m: m.set_items(m.pop_to_mark()),
    ord("c"): lambda m: m.reference(m.line(), m.line()),
    0x93: _Machine.stack_reference,
    ord("R"): _Machine.call,
    0x81: _Machine.call,
    0x92: _Machine.call_with_keywords,
    ord("b"): lambda m: m.pop(),
    ord("Q"): _Machine.refer,
}
