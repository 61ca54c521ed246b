"""Answers show themselves in notebooks."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from refersat.scene.options import SceneOptions
from refersat.scene.scene import Scene
from tests.scene.scenes import PixelModel


def shown(html: str) -> NDArray[Any]:
    (content,) = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return np.asarray(PIL.Image.open(BytesIO(base64.b64decode(content))))


def test_a_result_shows_its_picture_and_numbers(
    make_segmenter: Callable[..., Any], bright_square: NDArray[np.uint8]
) -> None:
    result = make_segmenter()(bright_square, "the <b>square</b>")
    html = result._repr_html_()
    assert "the &lt;b&gt;square&lt;/b&gt;" in html
    assert "<b>" not in html
    assert "900 px" in html
    assert max(shown(html).shape) <= 640


def test_what_was_found_in_a_scene_shows_its_mask(geotiff: Path, tmp_path: Path) -> None:
    with Scene(geotiff) as scene:
        (found,) = scene.segment(
            ["the square"], tmp_path / "out", segmenter=PixelModel(), options=SceneOptions(strategy="tile")
        )
    html = found._repr_html_()
    assert "901 m²" in html
    picture = shown(html)
    assert picture.shape == (80, 100, 3)
    assert (picture[35, 45] != picture[5, 5]).all()
    found.mask.unlink()
    assert "<img" not in found._repr_html_()
