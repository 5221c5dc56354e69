import pytest

from jaxseg.models import dilation

STRIDES = (2, 1, 2, 1, 2, 1)  # behind a map of stride 4, so 32 in the end


@pytest.mark.parametrize(
    ("output_stride", "expected"),
    [
        (32, [(2, 1), (1, 1), (2, 1), (1, 1), (2, 1), (1, 1)]),
        (16, [(2, 1), (1, 1), (2, 1), (1, 1), (1, 1), (1, 2)]),
        (8, [(2, 1), (1, 1), (1, 1), (1, 2), (1, 2), (1, 4)]),
    ],
)
def test_what_lies_behind_a_dropped_stride_is_dilated_by_it(output_stride, expected):
    assert dilation.plan(STRIDES, 4, output_stride) == expected


@pytest.mark.parametrize("output_stride", [12, 64])
def test_a_stride_that_is_never_passed_is_refused(output_stride):
    with pytest.raises(ValueError, match=f"output stride {output_stride}"):
        dilation.plan(STRIDES, 4, output_stride)
