from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from refersat.data.segmentation import SegmentedMask, box_of, is_empty, mask_of
from refersat.errors import UserError
from tests.data.factories.pictures import rectangle, save_picture
from tests.data.factories.refer import polygon
from tests.data.factories.rle import encode

LEFT, RIGHT = rectangle(40, 30, 2, 3, 10, 8), rectangle(40, 30, 8, 5, 30, 18)


def mask_for(*segmentations, image: Path = Path("nowhere.png"), size=None) -> SegmentedMask:
    return SegmentedMask(segmentations, size, image, "refs(unc).p: reference 4")


@pytest.mark.parametrize("segmentation", [None, [], {}, ""])
def test_nothing_is_no_outline(segmentation):
    assert is_empty(segmentation)


def test_an_encoding_without_foreground_still_is_an_outline():
    segmentation = [encode(np.zeros((30, 40), bool))]
    assert not is_empty(segmentation)
    assert box_of(segmentation, None) is None
    assert not mask_of(segmentation, None).any()


def test_parts_are_joined():
    parts = [encode(LEFT), encode(np.zeros_like(LEFT)), encode(RIGHT, compressed=False)]
    np.testing.assert_array_equal(mask_of(parts, None), LEFT | RIGHT)
    assert box_of(parts, None) == (2, 3, 30, 18)
    np.testing.assert_array_equal(mask_of(encode(LEFT), None), LEFT)
    with pytest.raises(ValueError, match="different sizes"):
        mask_of([encode(LEFT), encode(LEFT.T)], None)


def test_polygons_are_cut_at_the_image():
    parts = [polygon(2, 3, 10, 8), polygon(30, 20, 90, 90)]
    mask = mask_of(parts, (40, 30))
    np.testing.assert_array_equal(mask, LEFT | rectangle(40, 30, 30, 20, 40, 30))
    assert box_of(parts, (40, 30)) == (2, 3, 40, 30)
    assert box_of([polygon(50, 50, 60, 60)], (40, 30)) is None
    with pytest.raises(ValueError, match="need the width and height"):
        mask_of(parts, None)


def test_targets_are_joined(tmp_path):
    save_picture(tmp_path / "a.png", 40, 30)
    made = mask_for(encode(LEFT), [polygon(8, 5, 30, 18)], image=tmp_path / "a.png", size=(40, 30))
    np.testing.assert_array_equal(made(), LEFT | RIGHT)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(made))(), LEFT | RIGHT)


def test_polygons_take_the_size_of_the_file_where_the_listing_has_none(tmp_path):
    save_picture(tmp_path / "a.png", 40, 30)
    np.testing.assert_array_equal(mask_for([polygon(2, 3, 10, 8)], image=tmp_path / "a.png")(), LEFT)
    with pytest.raises(UserError, match=r"refs\(unc\)\.p: reference 4: .*need the width"):
        mask_for([polygon(2, 3, 10, 8)])()


@pytest.mark.parametrize("size", [(80, 79), (80, 82), (82, 80)])
def test_a_mask_that_nearly_fits_is_stretched_onto_its_image(tmp_path, size):
    """As in RRSIS-D; the upper half stays the upper half."""
    upper = rectangle(80, 80, 0, 0, 80, 40)
    save_picture(tmp_path / "a.jpg", *size)
    made = mask_for(encode(upper), image=tmp_path / "a.jpg")
    assert made.stored().shape == (80, 80)
    mask = made()
    assert mask.shape == size[::-1]
    assert mask[: size[1] // 2].all()
    assert not mask[size[1] // 2 + 1 :].any()


def test_a_mask_of_quite_another_size_stays_as_it_is(tmp_path):
    save_picture(tmp_path / "a.jpg", 80, 60)
    np.testing.assert_array_equal(mask_for(encode(LEFT), image=tmp_path / "a.jpg")(), LEFT)


def test_a_mask_without_its_image_stays_as_it_is(tmp_path):
    (tmp_path / "bad.jpg").write_text("no picture")
    for name in ("bad.jpg", "missing.jpg"):
        np.testing.assert_array_equal(mask_for(encode(LEFT), image=tmp_path / name)(), LEFT)


@pytest.mark.parametrize(
    ("segmentations", "message"),
    [
        ((encode(LEFT), encode(LEFT.T)), "different sizes"),
        (({"size": [30, 40], "counts": "0"},), "does not fill"),
        (([[1, 2, 3]],), "cannot be read"),
        ((5,), "cannot be read"),
    ],
)
def test_malformed_segmentations_are_explained(segmentations, message):
    with pytest.raises(UserError, match=rf"reference 4: .*{message}"):
        mask_for(*segmentations, size=(40, 30))()
