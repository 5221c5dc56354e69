import numpy as np
import pytest

from jaxseg.data import pts
from jaxseg.errors import UserError

ROWS = [f"{i + 0.25} {2 * i - 3.5e-1}" for i in range(68)]
POINTS = np.array([[i + 0.25, 2 * i - 0.35] for i in range(68)])


def text_of(rows, header="version: 1\nn_points: 68\n"):
    return header + "{\n" + "\n".join(rows) + "\n}\n"


def write(tmp_path, content):
    path = tmp_path / "000007.pts"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        text_of(ROWS),
        text_of(ROWS).rstrip("\n"),
        text_of(ROWS).replace("\n", "\r\n"),
        text_of(ROWS).replace("\n", "\r"),
        b"\xef\xbb\xbf" + text_of(ROWS).encode(),
        text_of(ROWS, header="n_points:  68\n"),
        text_of([" ".join(ROWS)]),
        text_of([row + "  " for row in ROWS] + [""]),
    ],
    ids="plain no-newline crlf cr bom no-version one-line spaces".split(),
)
def test_every_harmless_form_gives_the_same_points(tmp_path, content):
    points = pts.read_pts(write(tmp_path, content))
    assert points.dtype == np.float64
    np.testing.assert_array_equal(points, POINTS)


def changed(line, row):
    rows = list(ROWS)
    rows[line - 4] = row  # rows start at line 4 of the file
    return text_of(rows)


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (text_of(ROWS[:67]), 71, "67 points"),
        (text_of([*ROWS, "1 2"]), 73, "69 points"),
        (changed(9, "nan 3"), 9, "'nan' is not finite"),
        (changed(10, "3 -Infinity"), 10, "not finite"),
        (changed(11, "1e400 3"), 11, "beyond a million"),
        (changed(12, "1000001 3"), 12, "beyond a million"),
        (changed(13, "3,5 4"), 13, "'3,5' is not a number"),
        (changed(14, "1_0 4"), 14, "not a number"),
        (changed(15, "0x10 4"), 15, "not a number"),
        (changed(16, "7"), 16, "1 numbers"),
        (text_of([*ROWS[:20], "1", "1 2 3", *ROWS[22:]]), 24, "1 numbers"),
        (changed(17, "{ 1 2"), 17, "'{' is not a number"),
        (text_of(ROWS).replace("{", ""), 72, "no opening brace"),
        (text_of(ROWS).replace("}", ""), 71, "no closing brace"),
        (text_of(ROWS) + "more", 72, "after the closing brace"),
        (text_of(ROWS, header="version: 1\n"), 1, "no n_points"),
        (text_of(ROWS, header="version: 1\nn_points: 49\n"), 2, "'49'"),
        (text_of(ROWS, header="n_points: 68\nhello\n"), 1, "unknown header"),
        (text_of(ROWS).encode("utf-16"), 1, "no plain text"),
        (changed(20, "1 2").encode().replace(b"1 2\n", b"1 \xb2\n"), 20, "plain text"),
        (b"", 1, "no opening brace"),
        (text_of(ROWS) + " " * 70000, 1, "more than 65536 bytes"),
    ],
)
def test_a_bad_file_is_named_with_the_line_and_what_to_do(
    tmp_path, content, line, words
):
    path = write(tmp_path, content)
    with pytest.raises(UserError) as caught:
        pts.read_pts(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: line {line}: ")
    assert words in message
    assert "expected" in message and "on_damage='skip'" in message
    assert "\n" not in message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="000001.pts: cannot be read"):
        pts.read_pts(tmp_path / "000001.pts")


def test_random_damage_gives_points_or_a_user_error(tmp_path):
    rng = np.random.default_rng(0)
    good = text_of(ROWS).encode()
    outcomes = []
    for _ in range(600):
        data = bytearray(good)
        for _ in range(rng.integers(1, 4)):
            at = rng.integers(0, len(data))
            if rng.random() < 0.5:
                data[at] = rng.integers(0, 256)
            else:
                del data[at : at + rng.integers(1, 30)]
        try:
            points = pts.read_pts(write(tmp_path, bytes(data)))
            outcomes.append(points.shape == (68, 2) and np.isfinite(points).all())
        except UserError:
            outcomes.append(None)
    assert outcomes.count(False) == 0
    assert outcomes.count(None) > 150
