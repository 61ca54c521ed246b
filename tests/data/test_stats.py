"""Counts over samples whose every number is known, and the page and pictures made of them."""

import json
import re
from io import BytesIO
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from refersat.data import charts
from refersat.data.samples import Sample, SampleSet
from refersat.data.sources import read_samples
from refersat.data.stats import collect_stats
from refersat.data.stats_page import draw_charts, stats_page, write_stats
from refersat.errors import UserError
from tests.data.factories.dior_rsvg import make_dior_rsvg
from tests.data.factories.pictures import rectangle, save_picture

SIDE = 36


def mask_loader(mask):
    return lambda: mask


def data_set(folder, *samples, name="ships"):
    return SampleSet(name, "all", "0123456789abcdef", samples)


def sample(folder, number, phrase="the ship", mask=None, *, image="a.png", side=SIDE, **fields):
    path = folder / image
    if not path.exists():
        save_picture(path, side, side)
    return Sample(
        str(number), path, phrase, None if mask is None else mask_loader(mask), **{"type": "unique", **fields}
    )


def square(x0, y0, x1, y1, side=SIDE):
    return rectangle(side, side, x0, y0, x1, y1)


@pytest.fixture
def stats(tmp_path):
    return collect_stats(
        data_set(
            tmp_path,
            sample(tmp_path, 0, "The ship's mast", square(0, 0, 12, 12), category="ship", split="train"),
            sample(tmp_path, 1, "the ship", square(0, 0, 6, 6), category="ship", split="train", type="position"),
            sample(tmp_path, 2, "The  Ship", square(30, 30, 36, 36), category="boat", split="val", image="b.png"),
            sample(tmp_path, 3, "the airplane", absent=True, split="val", image="c.png", side=20),
        )
    )


def test_samples_images_and_phrases_are_counted(stats):
    assert (stats.samples, stats.images, stats.absent, stats.boxes_only) == (4, 3, 1, 0)
    assert stats.splits == {"train": 2, "val": 2}
    assert stats.categories == {"ship": 2, "boat": 1}
    assert stats.types == {"unique": 3, "position": 1}
    assert stats.lengths == {2: 3, 3: 1}
    assert stats.phrases == {"the ship's mast", "the ship", "the airplane"}
    assert set(stats.words) == {"the", "ship's", "mast", "ship", "airplane"}
    assert stats.phrases_per_image == {2: 1, 1: 2}
    assert stats.image_sizes == {(36, 36): 2, (20, 20): 1}


def test_the_share_of_the_image_is_counted_in_classes(stats):
    assert sorted(stats.shares) == [1 / 36, 1 / 36, 1 / 9]
    assert stats.areas() == {"2-5": 2, "5-10": 0, "10-20": 1}


def test_many_sizes_are_rounded(stats):
    assert stats.sizes() == {"36 x 36": 2, "20 x 20": 1}
    stats.image_sizes.update({(720, 441 + k): 1 for k in range(20)})
    assert stats.sizes() == {"about 700 x 400": 10, "about 700 x 500": 10, "about 100 x 100": 3}


def test_a_bound_belongs_to_the_class_above(tmp_path):
    mask = square(0, 0, 10, 10, side=100)
    assert collect_stats(data_set(tmp_path, sample(tmp_path, 0, mask=mask, side=100))).areas() == {"1-2": 1}


def test_the_maps_show_where_targets_are(stats):
    assert stats.coverage[0, 0] == pytest.approx(2 / 3)
    assert stats.coverage[8, 8] == pytest.approx(1 / 3)
    assert stats.coverage[33, 33] == pytest.approx(1 / 3)
    assert stats.coverage[20, 20] == 0
    assert stats.coverage.mean() == pytest.approx(np.mean(stats.shares))
    assert np.argwhere(stats.centres).tolist() == [[1, 1], [3, 3], [16, 16]]
    assert stats.thirds() == pytest.approx(np.array([[2, 0, 0], [0, 0, 0], [0, 0, 1]]) / 3)


def test_maps_do_not_mix_up_width_and_height(tmp_path):
    save_picture(tmp_path / "wide.png", 72, 36)
    wide = Sample("0", tmp_path / "wide.png", "it", mask_loader(rectangle(72, 36, 48, 0, 72, 12)), type="unique")
    stats = collect_stats(data_set(tmp_path, wide))
    assert stats.thirds().tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert stats.image_sizes == {(72, 36): 1}
    assert (stats.coverage[:12, 24:] == 1).all()
    assert stats.coverage.sum() == pytest.approx(12 * 12)


def test_empty_masks_count_as_samples_only(tmp_path):
    stats = collect_stats(data_set(tmp_path, sample(tmp_path, 0, mask=square(0, 0, 0, 0))))
    assert (stats.samples, stats.shares, stats.areas(), stats.coverage.max()) == (1, [], {}, 0)


def test_boxes_stand_for_masks_where_there_are_none(tmp_path):
    stats = collect_stats(data_set(tmp_path, sample(tmp_path, 0, boxes=((0, 0, 18, 36),))))
    assert (stats.boxes_only, stats.shares) == (1, [0.5])
    assert stats.thirds()[1, 0] == 1


def test_types_are_told_from_the_words_where_nothing_else_tells(tmp_path):
    stats = collect_stats(data_set(tmp_path, sample(tmp_path, 0, "the ship on the left", absent=True, type=None)))
    assert stats.types == {"position": 1}


def test_a_mask_of_another_size_is_a_mistake_that_is_named(tmp_path):
    with pytest.raises(UserError, match="sample 0: the mask has 20x20 pixels, the image 36x36"):
        collect_stats(data_set(tmp_path, sample(tmp_path, 0, mask=square(0, 0, 5, 5, side=20))))


@pytest.mark.slow
def test_workers_count_the_same(tmp_path):
    found = read_samples(f"dior-rsvg:{make_dior_rsvg(tmp_path)}", split="all")
    assert collect_stats(found, workers=2).as_dict() == collect_stats(found, workers=1).as_dict()


def test_the_files(stats, tmp_path):
    written = write_stats(tmp_path, stats)
    assert {path.name for path in written} == {path.name for path in tmp_path.iterdir()} - {"a.png", "b.png", "c.png"}
    content = json.loads((tmp_path / "stats.json").read_text())
    assert (content["samples"], content["images"], content["different_phrases"]) == (4, 3, 3)
    assert content["target_share_median"] == pytest.approx(1 / 36)
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert picture.width > 900


def svgs(page):
    return [ElementTree.fromstring(text) for text in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)]


def test_the_page_needs_nothing_else_and_shows_every_chart(stats):
    drawings = draw_charts(stats)
    page = stats_page(stats, drawings)
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert {svg.get("aria-label") for svg in svgs(page)} == {drawing.title for drawing in drawings.values()}
    assert "splits" in drawings
    text = " ".join(text for svg in svgs(page) for text in svg.itertext())
    assert "boat: 1 (33 %)" in text


def test_charts_without_content_are_left_out(tmp_path):
    stats = collect_stats(data_set(tmp_path, sample(tmp_path, 0, absent=True)))
    drawings = draw_charts(stats)
    assert set(drawings) == {"phrase-types", "phrase-lengths", "image-sizes"}
    assert "boat" not in stats_page(stats, drawings)


def test_names_cannot_become_markup(tmp_path):
    samples = data_set(tmp_path, sample(tmp_path, 0, absent=True, category="<b>&"), name="<script>alert(1)</script>")
    stats = collect_stats(samples)
    page = stats_page(stats, draw_charts(stats))
    assert "<script" not in page
    assert "<b>&" not in page


def bars_of(drawing):
    return [item for item in drawing.items if hasattr(item, "title")]


def texts_of(drawing):
    return [item.text for item in drawing.items if hasattr(item, "text")]


def test_lying_bars_are_as_long_as_their_numbers_and_stay_inside():
    drawing = charts.bars("x", {"a ship of a name that is much too long to stand beside a bar": 80, "b": 20, "c": 0})
    first, second, third = bars_of(drawing)
    assert second.width == pytest.approx(first.width / 4)
    assert third.width == 0
    assert first.x + first.width < drawing.width
    assert texts_of(drawing)[0].endswith("…")
    assert texts_of(drawing)[1] == "80 (80 %)"


def test_many_bars_end_in_one_of_all_others():
    drawing = charts.bars("x", {str(k): 10 for k in range(40)}, most=5)
    assert len(bars_of(drawing)) == 5
    assert "36 others" in texts_of(drawing)
    assert "360 (90 %)" in texts_of(drawing)


def test_columns_leave_out_names_that_would_touch():
    few = charts.columns("x", {"1": 1, "2": 3}, x_label="words", of="phrases")
    many = charts.columns("x", {str(k): 1 for k in range(100, 160)}, x_label="words", of="phrases")
    assert {"1", "2", "25", "75"} <= set(texts_of(few))
    names = [text for text in texts_of(many) if text.isdigit()]
    assert "100" in names
    assert 10 < len(names) < 30
    assert all(bar.x >= 0 and bar.x + bar.width <= many.width for bar in bars_of(many))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({}, {}),
        ({3: 2, 5: 1}, {"3": 2, "4": 0, "5": 1}),
        ({1: 500, 2: 495, 9: 3, 40: 2}, {"1": 500, "2": 495, ">2": 5}),
    ],
)
def test_long_tails_are_cut(counts, expected):
    assert charts.clipped(counts) == expected


def test_a_heat_map_is_brightest_where_the_value_is_highest():
    values = np.zeros((6, 6))
    values[1, 4] = 2.0
    drawing = charts.heat_map("x", values, scale="2", thirds=np.eye(3) / 3)
    picture = np.asarray(Image.open(BytesIO(drawing.png())).convert("L"), dtype=float)
    inner = drawing.items[0]
    cells = inner.rgb.sum(axis=2)
    assert np.unravel_index(cells.argmax(), cells.shape) == (1, 4)
    assert picture.shape[1] > drawing.width
    assert texts_of(drawing).count("33 %") == 3
