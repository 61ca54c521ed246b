"""From what the model says about an image to the document that the client gets."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from refersat import __version__
from refersat.imagery import Image
from refersat.overlay import draw_overlay
from refersat.scene.cog import Frame
from refersat.scene.objects import Strip
from refersat.scene.window import Window
from refersat.service.areas import window_slices
from refersat.service.display import png
from refersat.service.grids import Layer, box_in_degrees, ground_of, sum_up, write_grid, write_polygons
from refersat.service.records import AnswerRecord, Place, ResultRecord, place_of
from refersat.service.results import Results
from refersat.service.schemas import AnswerOutputs, Bounds, Geometry
from refersat.service.store import new_id, now

if TYPE_CHECKING:
    from refersat.result import Result

OUTPUTS = ("polygons", "mask", "probability", "overlay")


@dataclass(frozen=True)
class Asked:
    """What a client wants to know about an image, and how it wants it.

    Attributes:
        tenant: who asks.
        scene: the scene's id; None for an image that came with the question.
        name: what the image is called.
        stem: what files made from it are called after.
        size: width and height of the whole image.
        bounds: of the whole image in degrees; None where no map can show it.
        area: a GeoJSON geometry to look at only.
        window: what the model was shown of the image, in its pixels.
        threshold: above which a pixel is foreground.
        outputs: some of `OUTPUTS`, to be put into the document.
        keep: whether the result stays on the server.
    """

    tenant: str
    scene: str | None
    name: str
    stem: str
    size: tuple[int, int]
    bounds: Bounds | None
    area: Geometry | None
    window: Window
    threshold: float
    outputs: tuple[str, ...]
    keep: bool


@dataclass(frozen=True)
class Answered:
    """A result, and what was asked to be in its document."""

    record: ResultRecord
    outputs: list[AnswerOutputs]
    kept: bool


@dataclass(frozen=True, eq=False)
class _Layers:
    """An answer at the size of the whole image (H, W): what counts, the mask, and 255 times the probability."""

    counts: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    probability: NDArray[np.uint8]


def answer(asked: Asked, results: Sequence[Result], store: Results, whole: Callable[[], Image]) -> Answered:
    """Measure answers, and keep or encode what is wanted of them.

    Args:
        asked: what.
        results: the model's, about the window, for each phrase.
        store: where results are kept.
        whole: reads the whole image.

    Raises:
        UserError: the disk is full.
    """
    place = place_of(results[0].image, asked.window, asked.size, asked.bounds)
    frame = place.frame
    identifier = new_id("r")
    folder = store.folder_of(identifier)
    if asked.keep:
        folder.mkdir()
    answers, outputs = [], []
    for number, result in enumerate(results, start=1):
        layers = _whole(result, frame, asked)
        measured = _measured(number, result, layers, asked, place)
        answers.append(measured)
        outputs.append(_encoded(result, layers, asked, place, whole))
        if asked.keep:
            _keep(folder, measured, layers, asked, place, result.model)
    transform = None if frame.transform is None else tuple(frame.transform)[:6]
    record = ResultRecord(
        id=identifier,
        tenant=asked.tenant,
        scene=asked.scene,
        name=asked.name,
        stem=asked.stem,
        kind=place.kind,
        model=results[0].model,
        threshold=asked.threshold,
        width=frame.width,
        height=frame.height,
        crs_wkt=frame.crs_wkt,
        transform=transform,
        seconds=round(sum(result.seconds for result in results), 4),
        bounds=place.bounds,
        area=asked.area,
        min_area=0.0,
        created=now(),
        messages=[],
        answers=answers,
    )
    if asked.keep:
        record.save(folder)
    return Answered(record, outputs, asked.keep)


def _whole(result: Result, frame: Frame, asked: Asked) -> _Layers:
    """An answer about the window, at its place in the whole image."""
    withheld = not result.present and bool((result.probability > asked.threshold).any())
    share = np.rint(result.probability * np.float32(0 if withheld else 255)).astype(np.uint8)
    valid = result.image.valid
    if valid is None:
        valid = np.ones(result.mask.shape, np.bool_)
    shape = (frame.height, frame.width)
    if result.mask.shape == shape:
        return _Layers(valid, result.mask, share)
    rows, columns = window_slices(asked.window)
    layers = _Layers(np.zeros(shape, np.bool_), np.zeros(shape, np.bool_), np.zeros(shape, np.uint8))
    layers.counts[rows, columns] = valid
    layers.mask[rows, columns] = result.mask
    layers.probability[rows, columns] = share
    return layers


def _measured(number: int, result: Result, layers: _Layers, asked: Asked, place: Place) -> AnswerRecord:
    ground = ground_of(place.frame)
    total = sum_up([Strip(0, layers.mask, layers.probability)], ground)
    bounds = total.box
    if bounds is not None and place.kind == "map":
        bounds = box_in_degrees(bounds, ground)
    return AnswerRecord(
        phrase=result.phrase,
        found=result.present,
        score=round(result.score, 6),
        objects=total.objects,
        area=round(total.area, 3),
        area_unit=ground.area_unit,
        pixels=total.pixels,
        bounds=bounds,
        mask=f"{asked.stem}-{number}.tif",
        probability=f"{asked.stem}-{number}.probability.tif",
    )


def _encoded(result: Result, layers: _Layers, asked: Asked, place: Place, whole: Callable[[], Image]) -> AnswerOutputs:
    outputs = AnswerOutputs()
    if "polygons" in asked.outputs:
        outputs.polygons = _polygons(result, layers, asked.name, place)
    if "mask" in asked.outputs:
        outputs.mask = _text(png(layers.mask * np.uint8(255)))
    if "probability" in asked.outputs:
        outputs.probability = _text(png(layers.probability))
    if "overlay" in asked.outputs:
        stream = BytesIO()
        image = result.image if result.mask.shape == layers.mask.shape else whole()
        picture = draw_overlay(image.rgb, layers.mask, phrase=result.phrase, score=result.score, present=result.present)
        picture.save(stream, "PNG")
        outputs.overlay = _text(stream.getvalue())
    return outputs


def _polygons(result: Result, layers: _Layers, name: str, place: Place) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="refersat-") as folder:
        path = Path(folder, "polygons.geojson")
        layer = Layer(result.phrase, [Strip(0, layers.mask, layers.probability)])
        write_polygons(path, [layer], place.frame, name=name, model=result.model)
        collection: dict[str, Any] = json.loads(path.read_bytes())
    return collection


def _keep(folder: Path, record: AnswerRecord, layers: _Layers, asked: Asked, place: Place, model: str) -> None:
    tags = {
        "PHRASE": record.phrase,
        "SCORE": f"{record.score:.4f}",
        "MODEL": model,
        "THRESHOLD": f"{asked.threshold:.4g}",
        "SOURCE": asked.name,
        "REFERSAT": __version__,
    }
    frame = place.frame
    write_grid(folder / record.mask, [(0, layers.mask * np.uint8(255), layers.counts)], frame, tags, smooth=False)
    write_grid(folder / record.probability, [(0, layers.probability, layers.counts)], frame, tags, smooth=True)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
