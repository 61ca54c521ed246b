"""A tile in which the model does not trust counts where it goes on from one that found the target, and only there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refersat.imagery import Image
from refersat.scene.blend import FULL
from refersat.scene.options import SceneOptions
from refersat.scene.reader import SceneReader
from refersat.scene.strategy import Look
from refersat.scene.tiles import Tiles
from refersat.segmenter import Probability
from tests.scene.scenes import PixelModel, read

WriteScene = Callable[..., Path]
TILE, OVERLAP = 64, 0.25


class Shy(PixelModel):
    """Finds bright pixels, but trusts in them only where they are many."""

    def __init__(self, *, score: float = 0.3, enough: int = 600) -> None:
        super().__init__()
        self._score, self._enough = score, enough

    def probabilities(
        self, questions: Iterable[tuple[Image, str]], *, batch_size: int | None = None
    ) -> Iterator[Probability]:
        for answer in super().probabilities(questions):
            sure = int((answer.values > 0.5).sum()) >= self._enough
            yield Probability(answer.values, sure, 0.9 if sure else self._score)


def scene(*boxes: tuple[int, int, int, int], shape: tuple[int, int] = (220, 240)) -> np.ndarray[Any, Any]:
    """Bright boxes (x0, y0, x1, y1) on black."""
    values = np.zeros(shape, np.uint8)
    for x0, y0, x1, y1 in boxes:
        values[y0:y1, x0:x1] = 255
    return values


def found(path: Path, using: Any, *, first: int = 0, **words: Any) -> np.ndarray[Any, Any]:
    """What tiles find, as a mask."""
    with SceneReader(path) as reader:
        look = Look(reader, using, ("all",), SceneOptions(strategy="tile", tile=TILE, overlap=OVERLAP))
        bands = list(Tiles.tiled(look, **words).bands(first, lambda pixels: None))
    return np.concatenate([band.probability[0] for band in bands]) > FULL // 2


# Tiles begin at columns 0, 44, 88, 132, 176 and rows 0, 39, 78, 117, 156.
@pytest.mark.parametrize(
    ("box", "enough"),
    [
        ((70, 5, 110, 25), 600),
        ((84, 5, 130, 25), 600),
        ((5, 60, 25, 106), 600),
        ((5, 74, 25, 120), 600),
        ((76, 66, 112, 105), 900),
    ],
    ids=["to the right", "to the left", "down", "up", "to three sides"],
)
def test_an_object_is_not_cut_where_a_tile_shows_its_end(
    write_scene: WriteScene, box: tuple[int, int, int, int], enough: int
) -> None:
    values = scene(box)
    path = write_scene(values)
    np.testing.assert_array_equal(found(path, Shy(enough=enough)), values > 0)
    cut = found(path, Shy(enough=enough), least_score=1.0)
    assert 0 < (cut & (values > 0)).sum() < (values > 0).sum()


def test_an_end_is_not_heard_below_the_least_score(write_scene: WriteScene) -> None:
    path = write_scene(scene((70, 5, 110, 25)))
    cut = found(path, Shy(), least_score=1.0)
    np.testing.assert_array_equal(found(path, Shy(score=0.05)), cut)
    assert found(path, Shy()).sum() > cut.sum()


def test_what_goes_on_from_nothing_stays_out_even_beside_what_does(write_scene: WriteScene) -> None:
    values = scene((70, 5, 110, 25), (120, 40, 130, 50), (200, 200, 210, 210))
    np.testing.assert_array_equal(found(write_scene(values), Shy()), scene((70, 5, 110, 25)) > 0)


def test_a_touch_is_not_enough_to_go_on_from(write_scene: WriteScene) -> None:
    kept = found(write_scene(scene((10, 5, 47, 45), (63, 20, 80, 32))), Shy())
    assert kept[5:45, 10:47].all()
    assert not kept[:, 64:].any()


@pytest.mark.parametrize("first", [1, 30, 77, 140, 219])
def test_bands_are_the_same_wherever_one_begins(write_scene: WriteScene, first: int) -> None:
    draw = np.random.default_rng(1)
    boxes = [(int(x), int(y), int(x) + 50, int(y) + 22) for x, y in draw.integers(0, 190, (14, 2))]
    path = write_scene(scene(*boxes))
    np.testing.assert_array_equal(found(path, Shy(), first=first), found(path, Shy())[first:])


def test_the_mask_of_a_scene_has_the_whole_object(write_scene: WriteScene, segment: Callable[..., Any]) -> None:
    values = scene((70, 5, 110, 25))
    (answer,) = segment(write_scene(values), using=Shy(), tile=TILE)
    np.testing.assert_array_equal(read(answer.mask) > 0, values > 0)
    assert answer.objects == 1
