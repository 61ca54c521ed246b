"""What a phrase says of the whole scene is found in the whole scene, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from scene_oracle import Oracle, Seen

from refersat.imagery import Image
from refersat.scene.blend import FULL
from refersat.scene.options import SceneOptions
from refersat.scene.reader import SceneReader
from refersat.scene.strategy import Look, make_strategy

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

WIDTH, HEIGHT, TILE = 400, 300, 96
CATEGORIES = ("ship", "bridge", "water")
#        category, x, y, width, height
OBJECTS = (
    (1, 20, 30, 16, 10),
    (1, 150, 40, 30, 14),
    (1, 350, 20, 20, 10),
    (1, 60, 250, 24, 12),
    (1, 200, 170, 18, 10),
    (1, 360, 260, 16, 12),
    (2, 190, 120, 40, 16),
    (3, 10, 90, 150, 120),
)


def paint(objects: tuple[tuple[int, ...], ...] = OBJECTS) -> NDArray[np.uint8]:
    scene = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for number, (category, x, y, width, height) in enumerate(objects, start=1):
        scene[y : y + height, x : x + width] = category, 0, number
    return scene


def truth(*numbers: int) -> NDArray[np.bool_]:
    return np.isin(paint()[..., 2], [number + 1 for number in numbers])


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.tif"
    pixels = np.moveaxis(paint(), -1, 0)
    with rasterio.open(path, "w", driver="GTiff", width=WIDTH, height=HEIGHT, count=3, dtype="uint8") as dataset:
        dataset.write(pixels)
    return path


def answers(
    path: Path,
    phrases: list[str],
    strategy: str = "coarse-to-fine",
    *,
    oracle: Oracle | None = None,
    first_row: int = 0,
) -> NDArray[np.bool_]:
    segmenter: Any = oracle or Oracle(CATEGORIES)
    with SceneReader(path) as reader:
        look = Look(reader, segmenter, phrases, SceneOptions(strategy=strategy, tile=TILE))
        made = make_strategy(look)[1]
        steps: list[float] = []
        bands = list(made.bands(first_row, steps.append))
        assert len(steps) == made.steps
    assert bands[0].row == first_row
    assert all(above.stop == below.row for above, below in pairwise(bands))
    return np.concatenate([band.probability for band in bands], axis=1) > FULL // 2


@pytest.mark.parametrize(
    ("phrase", "targets"),
    [
        ("the largest ship", (1,)),
        ("the smallest ship", (0,)),
        ("the second largest boat in the picture", (3,)),
        ("the leftmost ship", (0,)),
        ("the ship on the far right", (5,)),
        ("northernmost ship", (2,)),
        ("the ship located towards the bottom-right corner of the image", (5,)),
        ("ships in the upper half", (0, 1, 2)),
        ("the ship below the bridge", (4,)),
        ("the ship nearest to the bridge", (4,)),
        ("the second ship from the left", (3,)),
        ("the largest ship in the lower half", (3,)),
        ("the water on the left", (7,)),
        ("the largest airplane", ()),
    ],
)
def test_what_is_said_of_the_scene_is_decided_in_the_scene(scene: Path, phrase: str, targets: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(answers(scene, [phrase])[0], truth(*targets))


def test_tiles_by_themselves_find_one_in_each(scene: Path) -> None:
    marked = answers(scene, ["the largest ship"], "tile")[0]
    assert (marked & ~truth(1)).sum() > 2 * truth(1).sum()


def test_several_phrases_share_one_search(scene: Path) -> None:
    phrases = ["the largest ship", "all ships", "the ship below the bridge", "the leftmost ship"]
    together, apart = Oracle(CATEGORIES), Oracle(CATEGORIES)
    masks = answers(scene, phrases, "auto", oracle=together)
    for mask, phrase in zip(masks, phrases, strict=True):
        np.testing.assert_array_equal(mask, answers(scene, [phrase], "auto", oracle=apart)[0])
    assert together.asked < 0.6 * apart.asked


def test_a_run_goes_on_where_it_stopped(scene: Path) -> None:
    phrases = ["the largest ship", "the water on the left", "all ships"]
    whole = answers(scene, phrases, "auto")
    for first_row in (1, 130, HEIGHT - 1):
        np.testing.assert_array_equal(answers(scene, phrases, "auto", first_row=first_row), whole[:, first_row:])


def test_what_nobody_understands_is_left_to_the_overview(scene: Path) -> None:
    class Clever(Oracle):
        """Understands rows."""

        def mask(self, labels: NDArray[np.uint8], phrase: str) -> NDArray[np.bool_]:
            return super().mask(labels, "the ship on the lower left" if "row" in phrase else phrase)

    mask = answers(scene, ["the first ship in the last row"], oracle=Clever(CATEGORIES))[0]
    np.testing.assert_array_equal(mask, truth(3))


def test_phrases_about_no_place_are_searched_where_the_overview_shows_them(scene: Path) -> None:
    oracle = Oracle(CATEGORIES)
    np.testing.assert_array_equal(answers(scene, ["the bridge"], oracle=oracle)[0], truth(6))
    assert oracle.asked == 2  # the overview, and a window around the bridge
    np.testing.assert_array_equal(answers(scene, ["all water"])[0], truth(7))


def test_without_the_other_thing_the_overview_answers(scene: Path) -> None:
    assert not answers(scene, ["the ship below the harbor"]).any()


def test_the_box_of_a_grounder_says_where_to_look(scene: Path) -> None:
    class Pointing(Oracle):
        """Has too few pixels on an overview to draw anything, but finds the box."""

        def probabilities(self, questions: Iterable[tuple[Image, str]], **words: Any) -> Iterator[Seen]:
            for image, phrase in questions:
                if image.width == WIDTH:
                    yield Seen(np.zeros((HEIGHT, WIDTH), np.float32), True, 0.9, ((186.0, 116.0, 234.0, 140.0),))
                else:
                    yield from super().probabilities([(image, phrase)], **words)

    np.testing.assert_array_equal(answers(scene, ["the bridge"], oracle=Pointing(CATEGORIES))[0], truth(6))
