"""The files that answers about one image become: what `refersat predict` and `refersat batch` write."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from refersat.output import write_file
from refersat.result import Result
from refersat.vector import Ground, feature_collection

EXPLAIN_ENDING = "explain.png"


@dataclass(frozen=True)
class Written:
    """One answer after its files were written.

    Attributes:
        item: what programs are told; JSON can hold it.
        area: of all polygons together.
        area_unit: "m2" or "px".
    """

    item: dict[str, Any]
    area: float
    area_unit: str


def write_answers(
    results: Iterable[Result],
    image: str,
    stem: Path,
    *,
    sheets: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> list[Written]:
    """Write `<stem>-<k>.mask.tif` and `<stem>-<k>.overlay.png` of each answer as it arrives, then `<stem>.geojson`.

    Args:
        results: the answers about one image, at least one.
        image: how the image is called.
        stem: into a folder that exists.
        sheets: a folder for `<stem>-<k>.explain.png`; none are drawn when None.
        advance: called after each answer.

    Raises:
        UserError: the place cannot be written to.
    """
    written, features = [], []
    for number, result in enumerate(results, start=1):
        ground = Ground.of(result.image)
        found = result.features(ground)
        features += found
        mask, _ = result.save_pictures(stem.with_name(f"{stem.name}-{number}"))
        if sheets:
            sheet = BytesIO()
            result.explain().save(sheet, "PNG")
            write_file(sheets / f"{stem.name}-{number}.{EXPLAIN_ENDING}", sheet.getvalue())
        area = sum(feature["properties"]["area"] for feature in found)
        written.append(Written(_item(image, result, mask), area, ground.area_unit))
        advance()
    write_file(stem.with_name(f"{stem.name}.geojson"), feature_collection(features, ground))
    return written


def _item(image: str, result: Result, mask: Path) -> dict[str, Any]:
    return {
        "image": image,
        "phrase": result.phrase,
        "model": result.model,
        "present": result.present,
        "score": round(result.score, 4),
        "area_px": result.area_px,
        "box": result.box,
        "mask": str(mask),
        "seconds": round(result.seconds, 4),
    }
