"""The COCO reader: geometry against masks counted pixel by pixel, and what it says of bad files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from refersat.data import shapes
from refersat.data.coco import read_coco
from refersat.errors import UserError
from tests.data.factories.rle import encode

SQUARE = [10, 10, 30, 10, 30, 40, 10, 40]
TRIANGLE = [50, 5, 90, 5, 50, 45]


def write(folder: Path, content: Any) -> Path:
    path = folder / "instances.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def instances(*segmentations: Any, names: tuple[str, ...] = ("storage_tank",)) -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "a.png", "width": 100, "height": 60}],
        "annotations": [
            {"id": k, "image_id": 7, "category_id": 1 + k % len(names), "segmentation": s}
            for k, s in enumerate(segmentations)
        ],
        "categories": [{"id": k, "name": name} for k, name in enumerate(names, start=1)],
    }


def test_reads_polygons(tmp_path: Path) -> None:
    found = read_coco(write(tmp_path, instances([SQUARE], [TRIANGLE], names=("storage_tank", "ship"))))
    assert found.categories == ("storage tank", "ship")
    (image,) = found.images
    assert (image.file_name, image.width, image.height) == ("a.png", 100, 60)
    square, triangle = image.objects
    assert square.category == "storage tank"
    assert square.box == pytest.approx((10, 10, 30, 40))
    assert square.centroid == pytest.approx((20, 25))
    assert square.area == 600
    assert triangle.category == "ship"
    assert triangle.area == 800
    assert triangle.centroid == pytest.approx((50 + 40 / 3, 5 + 40 / 3))
    mask = image.mask([0])
    assert mask.shape == (60, 100)
    assert mask.sum() == 600
    assert mask[10:40, 10:30].all()


def test_parts_of_one_object_are_joined(tmp_path: Path) -> None:
    overlapping = [20, 20, 40, 20, 40, 30, 20, 30]
    (image,) = read_coco(write(tmp_path, instances([SQUARE, overlapping]))).images
    assert image.mask([0]).sum() == 600 + 100


@pytest.mark.parametrize("compressed", [False, True])
def test_reads_run_lengths(tmp_path: Path, compressed: bool) -> None:
    mask = np.zeros((60, 100), bool)
    mask[10:40, 10:30] = True
    mask[20:25, 15:20] = False  # a hole
    (image,) = read_coco(write(tmp_path, instances(encode(mask, compressed=compressed)))).images
    np.testing.assert_array_equal(image.mask([0]), mask)
    assert image.objects[0].area == mask.sum()


def test_compressed_runs_worked_out_by_hand(tmp_path: Path) -> None:
    """Runs 105, 2, 58, 1, 5834: 105 is 9 + 3 * 32; then 1 - 2 = -1 is 31 with the sign bit; 5834 - 58 = 5776."""
    last = chr(48 + (16 | 32)) + chr(48 + (20 | 32)) + chr(48 + 5)  # 5776 = 16 + 20 * 32 + 5 * 1024
    counts = chr(48 + (9 | 32)) + chr(48 + 3) + "2" + chr(48 + (26 | 32)) + chr(48 + 1) + "O" + last
    (image,) = read_coco(write(tmp_path, instances({"size": [60, 100], "counts": counts}))).images
    expected = np.zeros(6000, bool)
    expected[105:107] = expected[165] = True
    np.testing.assert_array_equal(image.mask([0]), expected.reshape(100, 60).T)


@settings(max_examples=100, deadline=None)
@given(mask=hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_an_outline_gives_its_mask_back(mask: np.ndarray) -> None:
    height, width = mask.shape
    np.testing.assert_array_equal(shapes.rasterise([shapes.outline(mask)], width, height), mask)


@settings(max_examples=50, deadline=None)
@given(
    corners=st.lists(st.tuples(st.integers(-30, 130), st.integers(-30, 90)), min_size=3, max_size=9),
    window=st.tuples(st.integers(-10, 60), st.integers(-10, 40)),
)
def test_clipping_keeps_what_is_inside(corners: list[tuple[int, int]], window: tuple[int, int]) -> None:
    """A mask cut out of a larger mask is the mask of the clipped outline."""
    ring = np.array(corners, float) + np.sqrt([0.02, 0.03])  # no pixel centre on a line
    x0, y0 = window
    whole = shapes.rasterise([((ring + 50,),)], 250, 250)
    clipped = shapes.clip(((ring - (x0, y0),),), 40, 30)
    cut = whole[50 + y0 : 80 + y0, 50 + x0 : 90 + x0]
    np.testing.assert_array_equal(shapes.rasterise([clipped], 40, 30), cut)


def test_a_crop_has_the_geometry_of_what_is_left(tmp_path: Path) -> None:
    (image,) = read_coco(write(tmp_path, instances([SQUARE], [TRIANGLE], names=("tank", "ship")))).images
    crop = image.cropped(20, 0, 50, 50)
    assert [o.category for o in crop.objects] == ["tank", "ship"]
    assert crop.objects[0].box == pytest.approx((0, 10, 10, 40))
    assert crop.objects[0].area == 300
    assert crop.objects[0].centroid == pytest.approx((5, 25))
    np.testing.assert_array_equal(crop.mask([1]), image.mask([1])[0:50, 20:70])
    assert [o.category for o in image.cropped(0, 0, 40, 60).objects] == ["tank"]
    assert not image.cropped(25, 38, 20, 20, min_area=20.0).objects
    assert len(image.cropped(25, 38, 20, 20, min_area=5.0).objects) == 1


def test_flips_and_scales(tmp_path: Path) -> None:
    (image,) = read_coco(write(tmp_path, instances([TRIANGLE]))).images
    flipped = image.warped(np.array([[-1.0, 0, 100], [0, 1, 0]]), 100, 60)
    assert flipped.objects[0].box == pytest.approx((10, 5, 50, 45))
    assert flipped.objects[0].area == pytest.approx(800)
    assert flipped.objects[0].centroid == pytest.approx((100 - image.objects[0].centroid[0], 5 + 40 / 3))
    off_diagonal = np.count_nonzero(flipped.mask([0]) != image.mask([0])[:, ::-1])
    assert off_diagonal <= 40  # the centres of the pixels on the long side lie on the outline itself
    halved = image.warped(np.array([[0.5, 0, 0], [0, 0.5, 0]]), 50, 30)
    assert halved.objects[0].area == pytest.approx(200)
    assert halved.objects[0].box == pytest.approx((25, 2.5, 45, 22.5))
    angle = math.radians(30)
    cosine, sine = math.cos(angle), math.sin(angle)
    turned = image.warped(np.array([[cosine, -sine, 30], [sine, cosine, 0]]), 200, 200)
    assert turned.objects[0].area == pytest.approx(800)
    assert turned.mask([0]).sum() == pytest.approx(800, abs=15)


def test_outlines_beyond_the_image_are_cut(tmp_path: Path) -> None:
    half_outside, outside = [-10, 10, 20, 10, 20, 30, -10, 30], [200, 5, 210, 5, 210, 9]
    (image,) = read_coco(write(tmp_path, instances([half_outside], [outside]))).images
    assert [o.box for o in image.objects] == [(0, 10, 20, 30)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("categories"), "'categories' is missing"),
        (lambda c: c["images"][0].pop("width"), "'width' is missing"),
        (lambda c: c["annotations"][0].pop("segmentation"), "'segmentation' is missing"),
        (lambda c: c["annotations"][0].update(category_id=9), "9 is missing"),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3]]), "not a COCO instances file"),
        (lambda c: c["annotations"][0].update(segmentation=[[math.nan] * 6]), "not a number"),
        (lambda c: c["annotations"][0].update(segmentation={"size": [60, 100], "counts": [7]}), "does not fill"),
        (lambda c: c.update(images=3), r"not a COCO instances file \("),
    ],
)
def test_bad_content_is_the_users_mistake(tmp_path: Path, change: Any, message: str) -> None:
    content = instances([SQUARE])
    change(content)
    with pytest.raises(UserError, match=message):
        read_coco(write(tmp_path, content))


def test_bad_files_are_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_coco(tmp_path / "none.json")
    with pytest.raises(UserError, match="cannot be read"):
        read_coco(tmp_path)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        read_coco(tmp_path / "bad.json")
    with pytest.raises(UserError, match="no JSON object"):
        read_coco(write(tmp_path, []))
