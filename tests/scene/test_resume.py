"""A run that was stopped goes on where it was, and ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from scene_oracle import Oracle

from refersat.errors import UserError
from refersat.scene.options import SceneOptions
from refersat.scene.scene import Scene
from tests.scene.scenes import PixelModel, blobs, read

Segment = Callable[..., Any]
WriteScene = Callable[..., Path]

TILE = 40
OPTIONS = {"tile": TILE, "overlap": 0.3, "gsd": 1.3, "probability": True, "instances": True}


class Stopping(PixelModel):
    """Kills its process, or raises, after so many tiles."""

    def __init__(self, tiles: int, error: BaseException | None = None) -> None:
        super().__init__()
        self._tiles, self._error = tiles, error

    def probabilities(self, questions: Any, **words: Any) -> Iterator[Any]:
        for answer in super().probabilities(questions, **words):
            if len(self.sizes) > self._tiles:
                if self._error is not None:
                    raise self._error
                os.kill(os.getpid(), signal.SIGKILL)
            yield answer


class Asked(Oracle):
    """Stands for a model; raises after so many questions."""

    folder = None
    device = torch.device("cpu")
    number_format = "float32"

    def __init__(self, most: int | None = None) -> None:
        super().__init__(("ship",))
        self._most = most

    def mask(self, labels: NDArray[np.uint8], phrase: str) -> NDArray[np.bool_]:
        if self._most is not None and self.asked > self._most:
            raise KeyboardInterrupt
        return super().mask(labels, phrase)


def main() -> None:
    """What the killed process runs."""
    path, out, tiles = sys.argv[1:]
    with Scene(path) as scene:
        options = SceneOptions(strategy="tile", **OPTIONS)
        scene.segment(["all"], out, segmenter=Stopping(int(tiles)), options=options)


@pytest.fixture
def path(write_scene: WriteScene) -> Path:
    values = blobs(220, 130, grain=20)
    values[:, 100:] = 0
    return write_scene(values, nodata=0)


def test_a_killed_run_goes_on_and_ends_like_an_undisturbed_one(path: Path, segment: Segment, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    code = "from tests.scene.test_resume import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, path, tmp_path / "killed", "17"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    left = tmp_path / "killed"
    assert sorted(file.name for file in left.iterdir()) == [".scene.parts", "scene-1.partial.vrt"]

    whole = tmp_path / "whole"
    (expected,) = segment(path, out=whole, **OPTIONS)
    with rasterio.open(left / "scene-1.partial.vrt") as partial:  # in any GIS, too
        finished = partial.read_masks(1) > 0
        with rasterio.open(expected.mask) as mask:
            np.testing.assert_array_equal(partial.read(1)[finished], mask.read(1)[finished])
            assert 0.1 < finished.sum() / (mask.read_masks(1) > 0).sum() < 0.9
            assert (partial.crs, partial.transform) == (mask.crs, mask.transform)

    using = PixelModel()
    (found,) = segment(path, out=left, using=using, resume=True, **OPTIONS)
    assert sorted(file.name for file in left.iterdir()) == sorted(file.name for file in whole.iterdir())
    for one, other in zip(
        (found.mask, found.probability, found.instances),
        (expected.mask, expected.probability, expected.instances),
        strict=True,
    ):
        assert one.read_bytes() == other.read_bytes()
    assert (found.objects, found.area_m2, found.score) == (expected.objects, expected.area_m2, expected.score)
    everything = PixelModel()
    segment(path, out=tmp_path / "again", using=everything, **OPTIONS)
    assert 0 < len(using.sizes) < len(everything.sizes)


def test_another_way_of_writing_may_be_asked_for_in_the_end(path: Path, segment: Segment, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        segment(path, using=Stopping(9, KeyboardInterrupt()), tile=TILE)
    (found,) = segment(path, resume=True, tile=TILE, format="geojson", min_area=20.0)
    assert sorted(file.name for file in out.iterdir()) == ["scene-1.tif", "scene.geojson"]
    assert found.objects > 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tile": 41}, "--tile"),
        ({"threshold": 0.4}, "--threshold"),
        ({"scene": {"stretch": "percentile"}}, "the radiometry"),
    ],
)
def test_a_run_with_other_answers_is_refused(path: Path, segment: Segment, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        segment(path, using=Stopping(9, KeyboardInterrupt()), tile=TILE)
    with pytest.raises(UserError, match=f"cannot go on.*{named}"):
        segment(path, resume=True, **{"tile": TILE, **changes})
    with pytest.raises(UserError, match=r"cannot go on.*the phrases"):
        segment(path, "others", resume=True, tile=TILE)
    with pytest.raises(UserError, match="unfinished run: add --resume"):
        segment(path, tile=TILE)
    os.utime(path, (1, 1))
    with pytest.raises(UserError, match=r"cannot go on.*the scene"):
        segment(path, resume=True, tile=TILE)


# The search asks about 5 rows of 5 tiles. Of a row that was stopped in nothing is there; the one above waits for it.
@pytest.mark.parametrize(
    ("asked", "saved"), [(5, 0), (22, 5), (27, 25), (1000, 25)], ids=["at once", "in the search", "after it", "last"]
)
def test_the_search_of_a_stopped_run_serves_again(
    write_scene: WriteScene, segment: Segment, tmp_path: Path, asked: int, saved: int
) -> None:
    values = np.zeros((160, 160, 3), np.uint8)
    for number in range(1, 10):
        x, y = 10 + 50 * ((number - 1) % 3), 10 + 50 * ((number - 1) // 3)
        values[y : y + 8 + number, x : x + 12] = 1, 0, number
    path = write_scene(values)
    words = {"strategy": "coarse-to-fine", "tile": 48, "probability": True}
    phrases = ("the largest ship", "ships in the upper half", "the leftmost ship", "ships on the right")
    undisturbed = Asked()
    expected = segment(path, *phrases, out=tmp_path / "whole", using=undisturbed, **words)
    assert any(read(one.mask).any() for one in expected)
    out = tmp_path / "stopped"
    stopped = min(asked, undisturbed.asked - 1)
    with pytest.raises(KeyboardInterrupt):
        segment(path, *phrases, out=out, using=Asked(stopped), **words)
    again = Asked()
    found = segment(path, *phrases, out=out, using=again, resume=True, **words)
    for one, other in zip(found, expected, strict=True):
        assert one.mask.read_bytes() == other.mask.read_bytes()
        assert one.probability.read_bytes() == other.probability.read_bytes()
    assert sorted(file.name for file in out.iterdir()) == sorted(file.name for file in (tmp_path / "whole").iterdir())
    assert again.asked == undisturbed.asked - saved


def test_resume_begins_where_there_is_nothing(path: Path, segment: Segment) -> None:
    assert segment(path, resume=True, tile=TILE)[0].objects > 0


def test_reading_stops_with_the_run(path: Path, segment: Segment) -> None:
    import threading

    with pytest.raises(KeyboardInterrupt):
        segment(path, using=Stopping(1, KeyboardInterrupt()), tile=16)
    assert not [thread for thread in threading.enumerate() if thread.name == "refersat-read-ahead"]


def test_a_damaged_scene_is_told_of_and_can_go_on(write_scene: WriteScene, segment: Segment) -> None:
    path = write_scene(blobs(400, 300), compress="deflate")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    with pytest.raises(UserError, match="damaged"):
        segment(path, tile=64)
