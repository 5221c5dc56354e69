"""Landmark files: 68 points as text, 1-based pixel positions as written."""

import os
import re

import numpy as np

from jaxseg.errors import UserError

NUM_POINTS = 68

_MAX_BYTES = 1 << 16  # a file of 68 points has about 1,500 bytes
_MAX_ABSOLUTE = 1e6
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_HEADER = re.compile(r"\s*(?:version\s*:\s*\S+\s+)?n_points\s*:\s*68\s*")
_REMEDY = "restore the file or leave its frame out (on_damage='skip')"


def read_pts(path: str | os.PathLike) -> np.ndarray:
    """Read the 68 landmarks of one frame, float64 [68, 2] (x, y), first pixel at 1.

    Numbers are parted by any white space, so line ends do not matter; a byte-order
    mark and Windows line ends are accepted. Raises UserError naming file and line for
    anything that is not 68 finite points within a million pixels.
    """
    text = _read_text(path)
    opening, closing = text.find("{"), text.rfind("}")
    if opening < 0:
        raise _bad(
            path,
            text,
            len(text.rstrip()),
            "no opening brace; expected one after header",
        )
    _check_header(path, text, opening)
    if closing < opening:
        raise _bad(
            path, text, len(text.rstrip()), "no closing brace; expected one at the end"
        )
    if text[closing + 1 :].strip():
        raise _bad(path, text, closing, "text after the closing brace; expected none")
    try:
        values = np.array(text[opening + 1 : closing].split(), np.float64)
        good = values.size == 2 * NUM_POINTS and (abs(values) <= _MAX_ABSOLUTE).all()
    except ValueError:
        good = False
    if not good or "_" in text[opening:closing] or not _rows_are_even(text):
        raise _diagnosis(path, text, opening, closing)
    return values.reshape(NUM_POINTS, 2)


def _read_text(path: str | os.PathLike) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); expected a .pts file of 68 "
            f"points; {_REMEDY}"
        ) from error
    if len(data) > _MAX_BYTES:
        raise UserError(
            f"{path}: line 1: more than {_MAX_BYTES} bytes; expected a .pts file of 68 "
            f"points; {_REMEDY}"
        )
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode("ascii")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}: line {line}: bytes that are no plain text; expected a .pts file "
            f"of 68 points; {_REMEDY}"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _check_header(path: str | os.PathLike, text: str, opening: int) -> None:
    if _HEADER.fullmatch(text, 0, opening):
        return
    found = re.search(r"n_points\s*:\s*(\S+)", text[:opening])
    if found is None:
        raise _bad(path, text, 0, "no n_points in the header; expected n_points: 68")
    if found[1] != str(NUM_POINTS):
        message = f"n_points is {found[1][:20]!r}; expected {NUM_POINTS}"
        raise _bad(path, text, found.start(), message)
    raise _bad(path, text, 0, "unknown header; expected version: 1 and n_points: 68")


def _rows_are_even(text: str) -> bool:
    # Two rows of one and three numbers would pass a bare count and shift every
    # point between them.
    return all(
        len(row.split()) % 2 == 0
        for row in text[text.find("{") + 1 : text.rfind("}")].split("\n")
    )


def _diagnosis(
    path: str | os.PathLike, text: str, opening: int, closing: int
) -> UserError:
    position, count = opening + 1, 0
    for row in text[opening + 1 : closing].split("\n"):
        for token in row.split():
            problem = _problem(token)
            if problem:
                return _bad(path, text, position, problem)
            count += 1
        if len(row.split()) % 2:
            message = f"{len(row.split())} numbers; expected pairs of x and y"
            return _bad(path, text, position, message)
        position += len(row) + 1
    message = f"{count / 2:g} points before the closing brace; expected {NUM_POINTS}"
    return _bad(path, text, closing, message)


def _problem(token: str) -> str | None:
    shown = repr(token[:20])
    if token.lstrip("+-").lower() in ("nan", "inf", "infinity"):
        return f"{shown} is not finite; expected pixel positions"
    if not _NUMBER.fullmatch(token):
        return f"{shown} is not a number; expected pixel positions"
    if abs(float(token)) > _MAX_ABSOLUTE:
        return f"{shown} is beyond a million pixels; expected pixel positions"
    return None


def _bad(path: str | os.PathLike, text: str, position: int, message: str) -> UserError:
    line = text[:position].count("\n") + 1
    return UserError(f"{path}: line {line}: {message}; {_REMEDY}")
