import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from refersat.data.leakage import Fingerprint, SeenImage, find_leaks, fingerprint, near_duplicates


def scene(seed, side=160):
    """A smooth picture, different for every seed."""
    rough = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(rough, (side, side), interpolation=cv2.INTER_CUBIC))


def jpeg(rgb, quality):
    content = io.BytesIO()
    Image.fromarray(rgb).save(content, "JPEG", quality=quality)
    return np.asarray(Image.open(content))


def seen(name, rgb, *splits, ids=()):
    mark = None if rgb is None else fingerprint(np.ascontiguousarray(rgb))
    return SeenImage(Path(name), frozenset(splits), frozenset(ids), mark)


CHANGES = {
    "compressed": lambda rgb: jpeg(rgb, 40),
    "smaller": lambda rgb: cv2.resize(rgb, (97, 97), interpolation=cv2.INTER_AREA),
    "larger": lambda rgb: cv2.resize(rgb, (480, 480), interpolation=cv2.INTER_LINEAR),
    "brighter": lambda rgb: np.clip(rgb * 1.1 + 8, 0, 255).astype(np.uint8),
    "gamma": lambda rgb: (255 * (rgb / 255) ** 0.8).astype(np.uint8),
    "shifted": lambda rgb: rgb[2:, 2:],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_copy_is_found_among_other_pictures(change):
    train = [seen(f"train/{k}.jpg", scene(k), "train") for k in range(20)]
    test = [seen("test/copy.jpg", change(scene(7)), "test"), seen("test/new.jpg", scene(99), "test")]
    (leak,) = find_leaks([*train, *test])
    assert (leak.kind, str(leak.image), leak.split) == ("near-duplicate", "test/copy.jpg", "test")
    assert (str(leak.other), leak.other_split) == ("train/7.jpg", "train")
    assert leak.correlation > 0.92


def test_different_pictures_are_no_duplicates():
    pictures = [seen(f"{k}.jpg", scene(k), "train" if k % 2 else "test") for k in range(60)]
    assert find_leaks(pictures) == []


def test_the_most_similar_of_several_is_told():
    picture = scene(1)
    old = [seen("far.jpg", CHANGES["shifted"](picture), "train"), seen("near.jpg", jpeg(picture, 90), "train")]
    (leak,) = find_leaks([*old, seen("new.jpg", picture, "val")])
    assert str(leak.other) == "near.jpg"


def test_equal_pixels_in_another_file_format_are_the_same_content(tmp_path):
    Image.fromarray(scene(3)).save(tmp_path / "a.png")
    Image.fromarray(scene(3)).save(tmp_path / "a.tif")
    pictures = [np.asarray(Image.open(tmp_path / name)) for name in ("a.png", "a.tif")]
    (leak,) = find_leaks([seen("val/a.tif", pictures[1], "val"), seen("train/a.png", pictures[0], "train")])
    assert (leak.kind, str(leak.image), str(leak.other)) == ("same-content", "val/a.tif", "train/a.png")


def test_one_file_in_two_splits_is_the_same_image_once():
    (leak,) = find_leaks([seen("a.jpg", scene(1), "train", "test"), seen("b.jpg", scene(2), "train")])
    assert (leak.kind, leak.image, leak.other, leak.split) == ("same-image", Path("a.jpg"), Path("a.jpg"), "test")


def test_an_image_in_three_splits_is_told_for_each_pair():
    leaks = find_leaks([seen("a.jpg", scene(1), "train", "val", "test")])
    assert {(leak.split, leak.other_split) for leak in leaks} == {("val", "train"), ("test", "train"), ("test", "val")}


def test_equal_ids_count_only_where_the_pictures_cannot_be_compared():
    different = [seen("train/1.jpg", scene(1), "train", ids=["1"]), seen("val/1.jpg", scene(2), "val", ids=["1"])]
    assert find_leaks(different) == []  # each split counts its own images
    unread = [different[0], seen("val/1.jpg", None, "val", ids=["1"])]
    assert [leak.kind for leak in find_leaks(unread)] == ["same-image"]


def test_copies_within_a_split_and_images_without_a_split_are_no_leak():
    pictures = [seen("a.jpg", scene(1), "test"), seen("b.jpg", scene(1), "test"), seen("c.jpg", scene(1))]
    assert find_leaks(pictures) == []


def test_even_pictures_are_not_told_apart_and_not_reported():
    water = [np.full((64, 64, 3), level, np.uint8) for level in (40, 42)]
    assert find_leaks([seen("a.jpg", water[0], "train"), seen("b.jpg", water[1], "test")]) == []


def test_a_picture_and_its_reverse_are_not_alike():
    picture = scene(5)
    leaks = find_leaks([seen("a.jpg", picture, "train"), seen("b.jpg", picture[:, ::-1], "test")])
    assert leaks == []


def test_all_pairs_are_compared_across_blocks(monkeypatch):
    monkeypatch.setattr("refersat.data.leakage._PAIRS_AT_ONCE", 7)
    old = [seen(f"o{k}", scene(k), "train") for k in range(5)]
    new = [seen(f"n{k}", jpeg(scene(k), 60), "test") for k in range(5)]
    assert [(str(a.image), str(b.image)) for a, b, *_ in near_duplicates(new, old)] == [
        (f"n{k}", f"o{k}") for k in range(5)
    ]


def test_thousands_of_alike_pictures_give_one_leak_each():
    mark = fingerprint(scene(0))
    alike = [
        SeenImage(
            Path(str(k)),
            frozenset(["train" if k < 3000 else "test"]),
            frozenset(),
            Fingerprint(bytes([k % 256, k // 256]), mark.dhash, mark.thumbnail),
        )
        for k in range(3050)
    ]
    assert len(find_leaks(alike)) == 50
