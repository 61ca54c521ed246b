"""The plainest layout of samples: one folder with a `refs.json`.

`refs.json` is a list of `{"id", "image", "mask", "sentence"}` with optional `"type"`, `"category"` and `"split"`; paths
are relative to the folder. A mask pixel above 0 is foreground; `"mask": null` says that the phrase names nothing in the
image.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refersat.data.samples import ALL_SPLITS, Sample, SampleSet
from refersat.errors import UserError
from refersat.question import check_phrase

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read_triplets(folder: str | Path, *, split: str = ALL_SPLITS) -> SampleSet:
    """List the samples of `folder`/refs.json; masks are read later, one by one.

    `split` filters as soon as any item carries a "split"; "all" takes every item, and so does any name where no item
    has one. Phrases are checked and files looked for now, so that a long run does not stop in the middle.

    Raises:
        UserError: the folder, `refs.json` or a file it names is missing or malformed, or no such split exists.
    """
    folder = Path(folder)
    listing = folder / "refs.json"
    try:
        content = listing.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {listing}: {error.strerror}; triplets:FOLDER needs FOLDER/refs.json") from error
    try:
        items = json.loads(content)
    except ValueError as error:
        raise UserError(f"{listing} is not valid JSON: {error}") from error
    if not isinstance(items, list):
        raise UserError(f"{listing} must hold a list of {{id, image, mask, sentence}}, not a {type(items).__name__}")
    for number, item in enumerate(items):
        _check(item, f"{listing}: item {number}")
    chosen = _of_split(split, items, listing)
    if not chosen:
        raise UserError(f"{listing} lists no samples")
    _require_files(chosen, listing)
    samples = tuple(_sample(item, folder) for item in chosen)
    return SampleSet(folder.name, split, hashlib.sha256(content).hexdigest(), samples)


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask file of any raster format: bool (H, W), True where any band except an alpha band is above 0.

    Raises:
        UserError: the file is not a raster.
    """
    import numpy as np
    import rasterio
    from rasterio.enums import ColorInterp
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                bands = [k for k, kind in enumerate(source.colorinterp, start=1) if kind != ColorInterp.alpha]
                values = source.read(bands or None)
    except RasterioError as error:
        raise UserError(f"cannot read the mask {path}: {error}") from error
    return np.asarray((values > 0).any(axis=0))


def _check(item: Any, place: str) -> None:
    if not isinstance(item, dict):
        raise UserError(f"{place} must be an object with id, image, mask and sentence")
    missing = [key for key in ("id", "image", "mask", "sentence") if key not in item]
    if missing:
        raise UserError(f'{place} lacks {", ".join(missing)} (write "mask": null where the phrase names nothing)')
    try:
        check_phrase(item["sentence"])
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
    if not isinstance(item["image"], str) or not item["image"]:
        raise UserError(f'{place}: "image" must be a path')
    if item["mask"] is not None and (not isinstance(item["mask"], str) or not item["mask"]):
        raise UserError(f'{place}: "mask" must be a path, or null where the phrase names nothing')


def _sample(item: dict[str, Any], folder: Path) -> Sample:
    return Sample(
        id=str(item["id"]),
        image=folder / item["image"],
        phrase=item["sentence"],
        load_mask=None if item["mask"] is None else partial(read_mask, folder / item["mask"]),
        type=_text_or_none(item.get("type")),
        category=_text_or_none(item.get("category")),
        split=_text_or_none(item.get("split")),
        image_id=item["image"],
        absent=item["mask"] is None,
    )


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


def _of_split(split: str, items: list[dict[str, Any]], listing: Path) -> list[dict[str, Any]]:
    known = sorted({str(item["split"]) for item in items if item.get("split") is not None})
    if split == ALL_SPLITS or not known:
        return items
    if split not in known:
        raise UserError(
            f"{listing} has no split {split!r}; it has {', '.join(known)} ('{ALL_SPLITS}' takes everything)"
        )
    return [item for item in items if str(item.get("split")) == split]


def _require_files(items: list[dict[str, Any]], listing: Path) -> None:
    names = {item[key] for item in items for key in ("image", "mask") if item[key] is not None}
    missing = sorted(name for name in names if not (listing.parent / name).is_file())
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"{listing} names files that are missing: {missing[0]}{more}")
