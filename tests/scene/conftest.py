"""Writes scenes, and runs phrases over them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from refersat.scene.options import SceneOptions
from refersat.scene.scene import Scene
from tests.scene.scenes import METRE, UTM, PixelModel


@pytest.fixture
def model() -> PixelModel:
    return PixelModel()


@pytest.fixture
def write_scene(write_raster: Callable[..., Path]) -> Callable[..., Path]:
    """Writes an image (H, W) or (H, W, 3) as a scene in UTM with pixels of a metre, unless told otherwise."""

    def write(values: NDArray[Any], name: str = "scene.tif", **profile: Any) -> Path:
        values = np.repeat(values[..., None], 3, axis=2) if values.ndim == 2 else values
        return write_raster(name, np.moveaxis(values, -1, 0), **{"crs": UTM, "transform": METRE, **profile})

    return write


@pytest.fixture
def segment(tmp_path: Path, model: PixelModel) -> Callable[..., Any]:
    """Runs phrases over a scene; gives what was found. Scene's own arguments come in `scene`."""

    def run(
        path: Path,
        *phrases: str,
        out: Path | None = None,
        using: Any = None,
        scene: dict[str, Any] | None = None,
        resume: bool = False,
        say: Callable[[str], None] = lambda line: None,
        **options: Any,
    ) -> Any:
        with Scene(path, **(scene or {})) as opened:
            return opened.segment(
                phrases or ("all",),
                out or tmp_path / "out",
                segmenter=using or model,
                options=SceneOptions(**{"strategy": "tile", **options}),
                resume=resume,
                say=say,
            )

    return run
