"""The contact sheet: which samples, and what is painted where."""

import numpy as np
import pytest
from PIL import Image

from refersat.data.preview import choose, draw_sheet
from refersat.data.samples import Sample
from refersat.errors import UserError
from tests.data.factories.pictures import rectangle

MASK, BOX, ABSENT = (255, 40, 120), (64, 224, 255), (255, 190, 60)
GREY = (90, 90, 90)
MARGIN, TOP, TILE = 36, 124, 344


@pytest.fixture
def grey(tmp_path):
    Image.new("RGB", (172, 172), GREY).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def sample(image, number=0, phrase="the ship", mask=None, **fields):
    return Sample(str(number), image, phrase, None if mask is None else lambda: mask, **fields)


def sheet(*samples):
    return np.asarray(draw_sheet(samples, title="ships", subtitle="some"))


def tile(pixels, column=0):
    """The first row's picture of that column."""
    left = MARGIN + column * (TILE + 20)
    return pixels[TOP : TOP + TILE, left : left + TILE]


def has(pixels, colour, tolerance=6):
    return bool((np.abs(pixels.astype(int) - colour).max(axis=-1) <= tolerance).any())


def where(pixels, colour):
    rows, columns = np.nonzero(np.abs(pixels.astype(int) - colour).max(axis=-1) <= 6)
    return columns.min(), rows.min(), columns.max(), rows.max()


def test_the_mask_is_outlined_and_tinted_at_its_place(grey):
    pixels = tile(sheet(sample(grey, mask=rectangle(172, 172, 50, 20, 100, 60))))
    assert where(pixels, MASK) == pytest.approx((100, 40, 200, 120), abs=2)
    inside, outside = pixels[80, 150].astype(int), pixels[200, 150]
    assert inside[0] > GREY[0] + 30
    assert tuple(outside) == GREY


def test_a_small_mask_gets_a_ring(grey):
    pixels = tile(sheet(sample(grey, mask=rectangle(172, 172, 80, 80, 84, 84))))
    x0, y0, x1, y1 = where(pixels, MASK)
    assert 44 <= x1 - x0 <= 60
    assert (x0 + x1) / 2 == pytest.approx(164, abs=2)
    assert (y0 + y1) / 2 == pytest.approx(164, abs=2)


def test_a_mask_thinner_than_a_pixel_of_the_sheet_is_still_seen(tmp_path):
    Image.new("RGB", (1720, 1720), GREY).save(tmp_path / "large.png")
    mask = rectangle(1720, 1720, 800, 800, 801, 801)
    assert has(tile(sheet(sample(tmp_path / "large.png", mask=mask))), MASK)


def test_boxes_are_drawn(grey):
    pixels = tile(sheet(sample(grey, boxes=((50, 20, 100, 60),))))
    assert where(pixels, BOX) == pytest.approx((100, 40, 200, 120), abs=2)
    assert not has(pixels, MASK)


def test_an_absent_phrase_says_so_and_nothing_is_painted(grey):
    pixels = sheet(sample(grey, absent=True), sample(grey, 1, mask=rectangle(172, 172, 50, 20, 100, 60)))
    assert has(tile(pixels)[:60, :200], ABSENT)
    assert not has(tile(pixels), MASK)
    assert not has(tile(pixels, 1), ABSENT)


def test_the_legend_has_what_is_on_the_sheet(grey):
    head = sheet(sample(grey, boxes=((50, 20, 100, 60),)))[:TOP]
    assert has(head, BOX)
    assert not has(head, MASK)
    assert not has(head, ABSENT)


def test_wide_images_keep_their_shape(tmp_path):
    Image.new("RGB", (400, 100), GREY).save(tmp_path / "wide.png")
    pixels = sheet(sample(tmp_path / "wide.png"))
    rows = np.flatnonzero((pixels[:, MARGIN + 172] == GREY).all(axis=-1))
    assert (rows[0], len(rows)) == (TOP, 86)


def test_longer_phrases_get_more_lines_up_to_a_limit(grey):
    def height(words):
        return sheet(sample(grey, phrase=" ".join(["warehouse"] * words))).shape[0]

    heights = [height(words) for words in (1, 4, 7, 10, 200)]  # three words to a line
    assert heights[0] < heights[1] < heights[2] < heights[3] == heights[4]


@pytest.mark.parametrize("phrase", ["x" * 500, "船 on the left", "a\tb"])
def test_any_phrase_can_be_drawn(grey, phrase):
    assert sheet(sample(grey, phrase=phrase)).shape[1] == 2 * MARGIN + TILE


def test_rows_of_about_four_to_three(grey):
    many = sheet(*(sample(grey, k) for k in range(12)))
    assert many.shape[1] == 2 * MARGIN + 4 * TILE + 3 * 20


def test_the_same_samples_give_the_same_picture(grey):
    samples = [sample(grey, k, mask=rectangle(172, 172, k, 20, 100, 60)) for k in range(3)]
    assert np.array_equal(sheet(*samples), sheet(*samples))


def test_a_mask_of_another_size_is_a_mistake(grey):
    with pytest.raises(UserError, match="sample 0: the mask has 9x9"):
        sheet(sample(grey, mask=rectangle(9, 9, 0, 0, 4, 4)))


def test_nothing_to_show_is_a_mistake():
    with pytest.raises(UserError, match="no samples"):
        sheet()


def ids(found):
    return [int(member.id) for member in found]


def test_the_choice_depends_on_the_seed_only(grey):
    samples = [sample(grey, k) for k in range(100)]
    chosen = ids(choose(samples, 10, seed=1))
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 10
    assert chosen == ids(choose(samples, 10, seed=1))
    assert chosen != ids(choose(samples, 10, seed=2))
    assert set(ids(choose(samples[::-1], 10, seed=1))) == set(chosen)


def test_every_image_comes_before_a_second_sample_of_one(tmp_path):
    samples = [sample(tmp_path / f"{k // 10}.png", k) for k in range(50)]
    assert len({member.image for member in choose(samples, 5, seed=0)}) == 5
    assert len({member.image for member in choose(samples, 7, seed=0)}) == 5


def test_fewer_samples_than_wanted_are_all_shown(grey):
    assert ids(choose([sample(grey, k) for k in range(3)], 24, seed=0)) == [0, 1, 2]


@pytest.mark.parametrize("count", [0, -1, 241])
def test_a_sheet_has_limits(grey, count):
    with pytest.raises(UserError, match=f"1 to 240 samples, not {count}"):
        choose([sample(grey)], count, seed=0)
