import base64
import io
import re
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from PIL import Image

from refersat import painting
from refersat.evaluation.page import gallery
from refersat.evaluation.page.gallery import card, mask_path


def polygons(path):
    return [np.array(re.findall(r"([\d.]+) ([\d.]+)", part), float) for part in path.split("M")[1:]]


def painted(path, shape):
    """What a browser fills, by the even-odd rule, on four times as fine a grid."""
    canvas = np.zeros((4 * shape[0], 4 * shape[1]), np.uint8)
    cv2.fillPoly(canvas, [np.rint(4 * points).astype(np.int32) for points in polygons(path)], 1)
    return canvas.astype(bool)


def embedded(markup, name):
    href = ElementTree.fromstring(markup).find(f".//image[@class='{name}']").attrib["href"]
    kind, data = href.removeprefix("data:").split(";base64,")
    return kind, np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_path_of_a_rectangle_runs_through_its_rim():
    mask = np.zeros((20, 30), np.bool_)
    mask[5:10, 7:20] = True
    (corners,) = polygons(mask_path(mask))
    assert sorted(map(tuple, corners)) == [(7.5, 5.5), (7.5, 9.5), (19.5, 5.5), (19.5, 9.5)]


def test_path_covers_the_mask_and_leaves_its_holes():
    mask = cv2.GaussianBlur(np.random.default_rng(3).standard_normal((200, 300)), (0, 0), 15) > 0.01
    mask[80:120, 100:160] = True
    mask[90:110, 120:140] = False
    fine = np.kron(mask, np.ones((4, 4), np.bool_))
    found = painted(mask_path(mask), mask.shape)
    assert np.count_nonzero(found & fine) / np.count_nonzero(found | fine) > 0.95
    assert not found[4 * 100, 4 * 130]


def test_path_of_an_empty_mask_is_empty_and_of_one_pixel_is_not():
    mask = np.zeros((9, 9), np.bool_)
    assert mask_path(mask) == ""
    mask[4, 4] = True
    assert mask_path(mask) == "M4.5 4.5Z"


def test_path_of_noise_is_drawn_coarser_instead_of_growing_without_bound():
    noise = np.random.default_rng(0).random((320, 320)) > 0.4
    path = mask_path(noise)
    assert 0 < len(path) <= 12_000
    extent = np.concatenate(polygons(path))
    assert extent.min() >= 0
    assert extent.max() <= 320


def test_image_and_probability_are_embedded(make_case):
    image = np.zeros((60, 80, 3), np.uint8)
    image[:, :40] = (200, 30, 90)
    probability = np.zeros((60, 80), np.float32)
    probability[:30] = 1
    made = card(make_case(image=image, probability=probability))
    kind, pixels = embedded(made, "photo")
    assert kind == "image/jpeg"
    assert np.abs(pixels[30, 20].astype(int) - (200, 30, 90)).max() < 12
    kind, heat = embedded(made, "heat")
    assert kind == "image/png"
    assert heat.shape == (60, 80, 4)
    assert heat[10, 10, 3] > 200
    assert heat[50, 10, 3] == 0


def test_card_tells_what_it_shows(make_case):
    text = "".join(ElementTree.fromstring(card(make_case(iou=0.456, score=0.789))).itertext())
    for expected in ("IoU 0.46", "score 0.79", "the ship", "unique · ship", "s1"):
        assert expected in text


def test_card_of_a_phrase_that_names_nothing(make_case):
    made = card(make_case(truth=None, iou=None, prediction=np.zeros((60, 80), np.bool_)))
    root = ElementTree.fromstring(made)
    assert "names nothing here" in "".join(root.itertext())
    assert "answered: nothing" in "".join(root.itertext())
    assert [path.attrib["class"] for path in root.iter("path")] == ["answer"]


@pytest.mark.parametrize("field", ["phrase", "id", "type", "category"])
def test_hostile_text_stays_text(make_case, field):
    hostile = "</title></svg><script>alert(1)</script><img src=x onerror='alert(2)'>\x00"
    root = ElementTree.fromstring(card(make_case(**{field: hostile})))
    assert not list(root.iter("script")) + list(root.iter("img"))
    assert hostile.replace("\x00", "\ufffd") in "".join(root.itertext())


def test_masks_have_the_colour_of_the_overlays():
    from importlib.resources import files

    sheet = files("refersat.page").joinpath("page.css").read_text()
    red, green, blue = painting.MASK
    assert f"--answer: rgb({red} {green} {blue});" in sheet
    assert gallery._HEAT == painting.MASK
