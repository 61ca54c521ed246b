"""The answer to one phrase about one image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from refersat.imagery import Image

if TYPE_CHECKING:
    import PIL.Image
    import shapely

    from refersat.models.steps import Steps
    from refersat.vector import Ground


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What a phrase names in an image of H x W pixels.

    Attributes:
        image: the image as the model saw it, with its georeferencing.
        phrase: the phrase that was asked.
        model: name of the model that answered.
        mask: bool (H, W), True on the target; all False when the target is not there.
        probability: float32 (H, W) in [0, 1], per pixel, also when the target is not there.
        score: in [0, 1], that the target is there.
        present: whether the target is there, by the model's own rule.
        seconds: time the model took; of a batch, the equal share.
        steps: how the model came to it, for `explain`; None where it has nothing to tell.
    """

    image: Image
    phrase: str
    model: str
    mask: NDArray[np.bool_]
    probability: NDArray[np.float32]
    score: float
    present: bool
    seconds: float
    steps: Steps | None = None

    @cached_property
    def area_px(self) -> int:
        """Foreground pixels."""
        return int(np.count_nonzero(self.mask))

    @cached_property
    def box(self) -> tuple[int, int, int, int] | None:
        """(x0, y0, x1, y1) in pixels around the mask, x1 and y1 just outside of it; None for an empty mask."""
        columns, rows = np.flatnonzero(self.mask.any(axis=0)), np.flatnonzero(self.mask.any(axis=1))
        if not columns.size:
            return None
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

    def polygons(self) -> list[shapely.Polygon]:
        """The mask's outlines in pixel coordinates (x right, y down), with holes, the largest first."""
        from refersat.vector import mask_polygons

        return mask_polygons(self.mask)

    def overlay(self) -> PIL.Image.Image:
        """The image with the mask tinted and outlined, and a caption with phrase and score."""
        from refersat.overlay import draw_overlay

        return draw_overlay(self.image.rgb, self.mask, phrase=self.phrase, score=self.score, present=self.present)

    def explain(self) -> PIL.Image.Image:
        """One picture of how the model came to the answer, step by step; see `refersat.explain`."""
        from refersat.explain.sheet import explain

        return explain(self)

    def features(self, ground: Ground) -> list[dict[str, Any]]:
        """One GeoJSON feature per polygon, the largest first, placed on the image's ground."""
        from refersat.vector import polygon_features

        properties = {"phrase": self.phrase, "score": round(self.score, 4), "model": self.model}
        return polygon_features(self.polygons(), ground, properties)

    def save(self, stem: str | Path) -> list[Path]:
        """Write `<stem>.mask.tif`, `<stem>.overlay.png` and `<stem>.geojson`; folders are made, older files replaced.

        Raises:
            UserError: the place cannot be written to.
        """
        from refersat.output import output_folder, write_file
        from refersat.vector import Ground, feature_collection

        stem = Path(stem)
        ground = Ground.of(self.image)
        with output_folder(stem.parent):
            paths = [*self.save_pictures(stem), stem.with_name(f"{stem.name}.geojson")]
            write_file(paths[-1], feature_collection(self.features(ground), ground))
        return paths

    def save_pictures(self, stem: Path) -> tuple[Path, Path]:
        """Write `<stem>.mask.tif` and `<stem>.overlay.png` into a folder that exists.

        Raises:
            UserError: the place cannot be written to.
        """
        from refersat.output import mask_tiff, picture_png, write_file

        mask, overlay = (stem.with_name(stem.name + ending) for ending in (".mask.tif", ".overlay.png"))
        write_file(mask, mask_tiff(self.mask, self.image))
        write_file(overlay, picture_png(np.asarray(self.overlay())))
        return mask, overlay

    def _repr_html_(self) -> str:
        """Picture and numbers, for notebooks."""
        from refersat.notebook import result_html

        return result_html(self)

    def __repr__(self) -> str:
        found = f"{self.area_px} of {self.mask.size} px" if self.present else "not found"
        return f"Result({self.phrase!r}: {found}, score {self.score:.2f}, model {self.model})"
