"""What the server keeps of an answer: a small document beside the rasters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import affine
from pydantic import BaseModel

from refersat.imagery import Image
from refersat.output import write_file
from refersat.scene.cog import Frame
from refersat.scene.window import Window
from refersat.service.schemas import Bounds, Geometry, Kind

RECORD_FILE = "result.json"


class AnswerRecord(BaseModel):
    """What one phrase names, and its rasters."""

    phrase: str
    found: bool
    score: float
    objects: int
    area: float
    area_unit: str
    pixels: int
    bounds: Bounds | None
    mask: str
    probability: str


class ResultRecord(BaseModel):
    """A result; see `refersat.service.schemas.ResultDocument`."""

    id: str
    tenant: str
    scene: str | None
    name: str
    stem: str
    kind: Kind
    model: str
    threshold: float
    width: int
    height: int
    crs_wkt: str | None
    transform: tuple[float, float, float, float, float, float] | None
    seconds: float
    bounds: Bounds | None
    area: Geometry | None
    min_area: float
    created: str
    messages: list[str]
    answers: list[AnswerRecord]

    @property
    def frame(self) -> Frame:
        """Its size and place."""
        transform = None if self.transform is None else affine.Affine(*self.transform)
        return Frame(self.width, self.height, self.crs_wkt, transform)

    def save(self, folder: Path) -> None:
        """Write it into its folder.

        Raises:
            UserError: the disk is full, or does not allow it.
        """
        write_file(folder / RECORD_FILE, self.model_dump_json(indent=1).encode())

    @classmethod
    def read(cls, folder: Path) -> ResultRecord | None:
        """That of a folder; None where there is none."""
        try:
            return cls.model_validate_json((folder / RECORD_FILE).read_bytes())
        except (OSError, ValueError):
            return None


@dataclass(frozen=True)
class Place:
    """Where an image lies, for the documents about it.

    Attributes:
        frame: its size, CRS and transform.
        bounds: in degrees, where it can be shown on a map.
    """

    frame: Frame
    bounds: Bounds | None

    @property
    def kind(self) -> Kind:
        """See `SceneDocument`."""
        return "map" if self.bounds else "picture"


def place_of(image: Image, window: Window, size: tuple[int, int], bounds: Bounds | None) -> Place:
    """The place of a whole image with `size` (w, h), of which `image` shows a window; `bounds` as its header says."""
    transform = image.transform
    if transform is not None:
        transform = transform @ affine.Affine.translation(-window.x, -window.y)
    return Place(Frame(*size, image.crs_wkt, transform), bounds)
