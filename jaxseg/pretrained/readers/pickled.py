"""A reader of pickles that runs nothing.

A pickle is a program for a small stack machine, and a few of its instructions import
and call whatever the file names. Here these only leave a note of what was named, so a
hostile file can at worst be refused.

Source: the opcodes of Lib/pickletools.py of CPython, those of protocols 2 to 5.
"""

import struct

from jaxseg.pretrained.readers.entries import Malformed
from jaxseg.pretrained.readers.pickle_machine import Machine, Persistent, text

_MOST_OPCODES = 4_000_000  # a few seconds; a tensor takes about fifty


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
    machine = Machine(data, at, [] if persistent is None else persistent)
    for _ in range(_MOST_OPCODES):
        code = machine.byte()
        if code == _STOP:
            return machine.pop(), machine.at
        _step(machine, code)
    raise Malformed(f"a pickle of more than {_MOST_OPCODES} opcodes")


def _step(machine: Machine, code: int) -> None:
    if code in _CONSTANTS:
        machine.push(_CONSTANTS[code])
    elif code in _NUMBERS:
        machine.make(machine.number(_NUMBERS[code]))
    elif code in _STRINGS:
        form, decode = _STRINGS[code]
        machine.make(decode(machine.take(machine.number(form))))
    elif code in _ACTIONS:
        _ACTIONS[code](machine)
    else:
        raise Malformed(f"a pickle has opcode 0x{code:02x} at byte {machine.at - 1}")


_STOP = ord(".")
_U8, _U16, _U32, _U64 = (struct.Struct(form) for form in ("<B", "<H", "<I", "<Q"))
_S32, _F64 = struct.Struct("<i"), struct.Struct(">d")

_CONSTANTS = {ord("N"): None, 0x88: True, 0x89: False, ord(")"): ()}
_NUMBERS = {ord("J"): _S32, ord("K"): _U8, ord("M"): _U16, ord("G"): _F64}
_STRINGS = {
    ord("U"): (_U8, text),
    ord("T"): (_U32, text),
    ord("X"): (_U32, text),
    0x8C: (_U8, text),
    0x8D: (_U64, text),
    ord("C"): (_U8, bytes),
    ord("B"): (_U32, bytes),
    0x8E: (_U64, bytes),
    0x96: (_U64, bytes),  # a bytearray
}
_ACTIONS = {
    0x80: Machine.protocol,
    0x95: Machine.frame,
    ord("("): Machine.mark,
    ord("0"): lambda m: m.pop(),
    ord("1"): lambda m: m.pop_to_mark(),
    ord("2"): lambda m: m.push(m.top()),
    ord("q"): lambda m: m.put(m.byte()),
    ord("r"): lambda m: m.put(m.number(_U32)),
    0x94: Machine.memoize,
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
    ord("d"): Machine.make_dict,
    ord("s"): lambda m: m.set_items([m.pop(), m.pop()][::-1]),
    ord("u"): lambda m: m.set_items(m.pop_to_mark()),
    ord("c"): lambda m: m.reference(m.line(), m.line()),
    0x93: Machine.stack_reference,
    ord("R"): Machine.call,
    0x81: Machine.call,
    0x92: Machine.call_with_keywords,
    ord("b"): lambda m: m.pop(),
    ord("Q"): Machine.refer,
}
