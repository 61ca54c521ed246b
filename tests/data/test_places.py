from __future__ import annotations

import pytest

from refersat.data.places import find_image_folder, find_listing
from refersat.errors import UserError


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_the_listing_is_found_from_several_folders(tmp_path):
    listing = tmp_path / "set" / "inner" / "refs(unc).p"
    touch(listing, tmp_path / "set" / "images" / "a.jpg", tmp_path / "set" / ".hidden" / "refs(unc).p")
    touch(tmp_path / "__MACOSX" / "inner" / "refs(unc).p")
    for place in (tmp_path, tmp_path / "set", tmp_path / "set" / "inner", listing, tmp_path / "set" / "images"):
        assert find_listing(place, ("refs(*).p",), what="list", inner=("images",)) == listing


def test_the_first_pattern_and_the_nearest_folder_win(tmp_path):
    touch(tmp_path / "refs(google).p", tmp_path / "refs(unc).p", tmp_path / "deeper" / "new_refs(unc).p")
    patterns = ("new_refs(unc).p", "refs(unc).p", "refs(*).p")
    assert find_listing(tmp_path, patterns, what="list") == tmp_path / "refs(unc).p"


def test_one_of_several_data_sets_must_be_named(tmp_path):
    touch(tmp_path / "refcoco" / "refs(unc).p", tmp_path / "RRSISD" / "refs(unc).p")
    assert find_listing(tmp_path, ("refs(*).p",), what="list", prefer=("rrsisd",)).parent.name == "RRSISD"
    with pytest.raises(UserError, match=r"holds several data sets: give one of .*RRSISD, .*refcoco"):
        find_listing(tmp_path, ("refs(*).p",), what="list")


def test_what_is_missing_is_explained(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        find_listing(tmp_path / "nowhere", ("refs(*).p",), what="list")
    with pytest.raises(UserError, match=r"holds no list of samples, nor do the folders in it"):
        find_listing(tmp_path, ("a.p", "b.p"), what="list of samples")
    touch(tmp_path / "1" / "2" / "3" / "a.p")
    with pytest.raises(UserError, match="holds no"):
        find_listing(tmp_path, ("a.p",), what="list")


def test_the_folder_that_holds_the_images_is_found(tmp_path):
    start = tmp_path / "set" / "annotations"
    touch(start / "instances.json", tmp_path / "set" / "images" / "b.jpg", tmp_path / "set" / "JPEGImages" / "x.jpg")
    folders = ("JPEGImages", "images", "")
    assert find_image_folder(start, folders, ["a.jpg", "b.jpg"]) == tmp_path / "set" / "images"
    assert find_image_folder(start, folders, ["c.jpg"]) == tmp_path / "set" / "JPEGImages"
    touch(start / "b.jpg")
    assert find_image_folder(start, folders, ["a.jpg", "b.jpg"]) == start
    assert find_image_folder(tmp_path / "none", ("images",), ["a.jpg"]) == tmp_path / "none"
