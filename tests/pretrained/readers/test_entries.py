import pytest

from jaxseg.errors import UserError
from jaxseg.pretrained.readers import entries


def test_shape_that_fits_exactly_is_taken():
    assert entries.checked_shape([2, 3], 4, 24) == (2, 3)
    assert entries.checked_shape([], 8, 8) == ()
    assert entries.checked_shape([0, 2**31], 4, 0) == (0, 2**31)


@pytest.mark.parametrize(
    "shape", [[2, 4], [-1, 3], [2**32, 2**32], [0, 2**62], [1] * 33, [-1, -1]]
)
def test_shape_that_does_not_fit_is_refused(shape):
    with pytest.raises(entries.Malformed):
        entries.checked_shape(shape, 4, 24)


@pytest.mark.parametrize(
    "error",
    [
        entries.Malformed("byte 7\nis\x1b[31m wrong"),
        ValueError("x" * 5000),
        KeyError("name"),
        OverflowError("int"),
        MemoryError(),
        OSError(5, "Input/output error"),
        EOFError(),
    ],
)
def test_damage_becomes_one_printable_line_that_names_the_file(error):
    with pytest.raises(UserError) as raised, entries.reading("a\nb/f.npz", "an npz"):
        raise error
    text = str(raised.value)
    assert text.isprintable() and len(text) < 600
    assert text.startswith("a\\nb/f.npz ") and "; expected an npz; " in text


def test_remedy_of_the_damage_is_told():
    with pytest.raises(UserError, match="; expected one; turn it round$"):
        with entries.reading("f", "one"):
            raise entries.Malformed("it is the wrong way round", "turn it round")


def test_missing_file_is_named_as_missing(tmp_path):
    with pytest.raises(UserError, match="there is no file .*gone; expected one;"):
        with entries.reading(tmp_path, "one"):
            entries.file_size(tmp_path / "gone")


def test_folder_is_not_a_file(tmp_path):
    with pytest.raises(UserError, match="not a regular file"):
        with entries.reading(tmp_path, "one"):
            entries.file_size(tmp_path)


def test_mistake_of_the_program_stays_what_it_is():
    with pytest.raises(TypeError), entries.reading("f", "one"):
        len(3)
