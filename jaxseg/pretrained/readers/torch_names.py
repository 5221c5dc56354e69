"""The names of tensors in what torch pickles.

Nested dicts and lists give names joined with ".". What training scripts put around a
state dict is left out: where exactly one of `WRAPPERS` is a dict with tensors at the
top, these are named as inside it, unless that would name two tensors the same. So
"conv.weight" of {"epoch": 7, "state_dict": {"conv.weight": ...}} keeps its name.
"""

from collections.abc import Iterator
from typing import TypeVar

from jaxseg.pretrained.readers.entries import LONGEST_NAME, Malformed
from jaxseg.pretrained.readers.pickle_machine import Call

WRAPPERS = ("state_dict", "model", "model_state", "net", "module")
T = TypeVar("T")

_DEEPEST = 32
_LONGEST_NAMES = 16 << 20  # characters of all names together


def calls(value: object) -> Iterator[tuple[tuple[str, ...], Call]]:
    """Yield what may be tensors, each with the keys that lead to it.

    Goes through dicts, lists and tuples, each of them once; every other object is one.

    Raises:
      Malformed: they are nested too deep, or the names are too long.
    """
    seen, room = set(), _LONGEST_NAMES

    def walk(value: object, name: tuple[str, ...], length: int):
        nonlocal room
        if isinstance(value, Call) and value.items is None:
            room -= length
            if length > LONGEST_NAME or room < 0:
                raise Malformed("its names are far too long")
            yield name, value
            return
        items = _items(value)
        if items is None or id(value) in seen:
            return
        if len(name) >= _DEEPEST:
            raise Malformed(f"it is nested more than {_DEEPEST} deep")
        seen.add(id(value))
        for key, item in items:
            if isinstance(key, str | int):
                yield from walk(item, (*name, str(key)), length + len(str(key)) + 1)

    yield from walk(value, (), 0)


def joined(found: dict[tuple[str, ...], T]) -> dict[str, T]:
    """Return tensors by their names in full, without what is around a state dict.

    Raises:
      Malformed: two have the same name.
    """
    tops = {name[0] for name in found if len(name) > 1} & set(WRAPPERS)
    for wrapper in tops if len(tops) == 1 else ():
        names = [".".join(n[n[0] == wrapper and len(n) > 1 :]) for n in found]
        if len(set(names)) == len(names):
            return dict(zip(names, found.values()))
    names = [".".join(name) for name in found]
    if len(set(names)) < len(names):
        raise Malformed("two of its tensors have the same name")
    return dict(zip(names, found.values()))


def _items(value: object):
    value = value.items if isinstance(value, Call) else value
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, list | tuple):
        return enumerate(value)
    return None
