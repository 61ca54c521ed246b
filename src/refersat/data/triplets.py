"""The plainest layout of samples: one folder with a `refs.json`.

`refs.json` is a list of `{"id", "image", "mask", "sentence"}` with optional `"type"`, `"category"` and `"split"`; paths
are relative to the folder. A mask pixel above 0 is foreground; `"mask": null` says that the phrase names nothing in the
image.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from refersat.data.listing import Faults, Listing, finish, of_split
from refersat.data.masks import read_mask
from refersat.data.samples import ALL_SPLITS, Sample, SampleSet
from refersat.errors import UserError


def read_triplets(folder: str | Path, *, split: str = ALL_SPLITS, require_files: bool = True) -> SampleSet:
    """List the samples of `folder`/refs.json; masks are read later, one by one.

    `split` filters as soon as any item carries a "split"; "all" takes every item, and so does any name where no item
    has one. Phrases are checked and files looked for now, so that a long run does not stop in the middle; without
    `require_files` what is wrong is left out and told in the set's `faults`, and files are not looked for.

    Raises:
        UserError: the folder, `refs.json` or a file it names is missing or malformed, or no such split exists.
    """
    folder = Path(folder)
    path = folder / "refs.json"
    faults, listing = Faults(strict=require_files), Listing()
    content = listing.read_json(path, "triplets:FOLDER needs FOLDER/refs.json")
    if not isinstance(content, list):
        raise UserError(f"{path} must hold a list of {{id, image, mask, sentence}}, not a {type(content).__name__}")
    items = [item for number, item in enumerate(content) if _is_sound(item, f"{path}: item {number}", faults)]
    chosen = of_split(split, items, [_text_or_none(item.get("split")) for item in items], path)
    masks = [folder / item["mask"] for item in chosen if item["mask"] is not None]
    samples = [_sample(item, folder) for item in chosen]
    return finish(folder.name, split, samples, place=path, listing=listing, faults=faults, files=masks)


def _is_sound(item: Any, place: str, faults: Faults) -> bool:
    if not isinstance(item, dict):
        faults.add(f"{place} must be an object with id, image, mask and sentence")
        return False
    missing = [key for key in ("id", "image", "mask", "sentence") if key not in item]
    if missing:
        faults.add(f'{place} lacks {", ".join(missing)} (write "mask": null where the phrase names nothing)')
        return False
    if not isinstance(item["image"], str) or not item["image"]:
        faults.add(f'{place}: "image" must be a path')
        return False
    if item["mask"] is not None and (not isinstance(item["mask"], str) or not item["mask"]):
        faults.add(f'{place}: "mask" must be a path, or null where the phrase names nothing')
        return False
    return faults.phrase(item["sentence"], place) is not None


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
        mask_file=None if item["mask"] is None else folder / item["mask"],
    )


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)
