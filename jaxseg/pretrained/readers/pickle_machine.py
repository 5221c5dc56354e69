"""The stack machine that pickles are programs for, made harmless.

What would import or call leaves a note of what was named: `Reference` and `Call`.
"""

import dataclasses
import struct
import sys

from jaxseg.pretrained.readers.entries import Malformed

_NEWEST_PROTOCOL = 5
_LONGEST_INTEGER = 32  # bytes
_LONGEST_REFERENCE = 256  # bytes of a module or a name
_DEEPEST_STACK = 1 << 20
_DEEPEST_MARKS = 1 << 16
_WIDEST_GAP = 256  # between the numbers of the memo, which writers count up
_U64 = struct.Struct("<Q")
_LARGEST_KEY = 1 << 60  # integers below are their own hash, so few can collide
_BASE_ROOM = 32 << 20

# What values cost in bytes beyond sys.getsizeof: rounding up, and the tables that hold
# them when these have just grown.
_VALUE, _ITEM, _PAIR = 16, 16, 96

_NOTHING = object()
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


class Machine:
    """Hold the stack and the memo of a pickle, and how much it may still use."""

    def __init__(self, data: memoryview, at: int, persistent: list[Persistent]):
        self.at = at
        self._persistent = persistent
        self._data = data
        self._room = 2 * len(data) + _BASE_ROOM
        self._stack: list = []
        self._marks: list[int] = []
        self._memo: list = []

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
        return text(line)

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


def text(data: memoryview | bytes) -> str:
    """Return a string of a pickle."""
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
