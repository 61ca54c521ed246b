"""How answers show themselves in a notebook: a table and a picture, in one piece of HTML without a script."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from refersat.page.markup import Html, tag

if TYPE_CHECKING:
    import PIL.Image

    from refersat.result import Result
    from refersat.scene.outputs import Found

_SIDE = 640
_CELL = "text-align:left;padding:2px 12px 2px 0"


def result_html(result: Result) -> str:
    """A picture of the answer, and its numbers below."""
    found = "found" if result.present else "not found"
    rows = {
        "phrase": result.phrase,
        "answer": f"{found}, score {result.score:.2f}",
        "area": f"{result.area_px:,} px of {result.mask.size:,}",
        "model": f"{result.model}, {result.seconds:.2f} s",
    }
    return _block(result.overlay(), f"{result.phrase}: {found}", rows)


def found_html(found: Found) -> str:
    """The mask, reduced, and its numbers and files below."""
    area = f"{found.pixels:,} px" if found.area_m2 is None else f"{found.area_m2:,.0f} m², {found.pixels:,} px"
    files = [found.mask, found.probability, found.instances, found.vectors]
    rows = {
        "phrase": found.phrase,
        "answer": f"{found.objects:,} objects, score {found.score:.2f}" if found.objects else "nothing found",
        "area": area,
        "files": ", ".join(str(path) for path in files if path is not None),
    }
    return _block(_mask_picture(found), f"{found.phrase}: {rows['answer']}", rows)


def _mask_picture(found: Found) -> PIL.Image.Image | None:
    """What was found in the scene's frame; None when the file is gone."""
    import PIL.Image
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.errors import RasterioError

    from refersat.painting import MASK
    from refersat.rasters import unplaced_is_fine

    try:
        with unplaced_is_fine(), rasterio.open(found.mask) as dataset:
            scale = min(1.0, _SIDE / max(dataset.width, dataset.height))
            shape = max(1, round(dataset.height * scale)), max(1, round(dataset.width * scale))
            share = dataset.read(1, out_shape=shape, resampling=Resampling.average).astype(np.float32) / 255
    except RasterioError:
        return None
    # Small objects in a large scene stay visible: any share of a pixel is shown, the whole of it fully.
    strength = np.sqrt(share)[..., None]
    dark, bright = np.array((24, 27, 33), np.float32), np.array(MASK, np.float32)
    return PIL.Image.fromarray(np.rint(dark + (bright - dark) * strength).astype(np.uint8))


def _block(picture: PIL.Image.Image | None, described: str, rows: dict[str, str]) -> str:
    lines = [tag("tr", tag("th", name, style=_CELL), tag("td", value, style=_CELL)) for name, value in rows.items()]
    return tag("div", _image(picture, described), tag("table", lines))


def _image(picture: PIL.Image.Image | None, described: str) -> Html | None:
    if picture is None:
        return None
    picture.thumbnail((_SIDE, _SIDE))
    stream = BytesIO()
    picture.save(stream, "PNG")
    content = base64.b64encode(stream.getvalue()).decode()
    return tag("img", alt=described, src=f"data:image/png;base64,{content}")
