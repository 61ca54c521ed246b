"""DIOR-RSVG: boxes of objects and a description of each, in one XML file for each image.

`Annotations/<image>.xml`, `JPEGImages/<image>.jpg`, and `train.txt`, `val.txt` and `test.txt`, whose numbers count
objects: over all XML files in order of their names, from 0, including objects of other splits. One missing XML file
would shift them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from refersat.box import Box
from refersat.data.listing import Faults, Listing, check_split, finish, unique
from refersat.data.places import find_image_folder, find_listing
from refersat.data.samples import ALL_SPLITS, Sample, SampleSet
from refersat.errors import UserError

SPLITS = ("train", "val", "test")

_HINT = "complete the download"


@dataclass(frozen=True)
class _Object:
    """One described object."""

    place: str
    id: str
    file_name: str
    element: ElementTree.Element


def read_dior_rsvg(folder: str | Path, *, split: str = ALL_SPLITS, require_files: bool = True) -> SampleSet:
    """List the samples of DIOR-RSVG. They have a box and no mask.

    Args:
        folder: with Annotations, JPEGImages and the split files; or the one above it, or one of the two in it.
        split: "train", "val", "test" or "all".
        require_files: whether anything wrong is an error; else it is left out and told in the set's `faults`, and
            images are not looked for.

    Raises:
        UserError: what is missing or malformed, and in which file.
    """
    annotations = find_listing(Path(folder), ("Annotations",), what="Annotations", inner=("Annotations", "JPEGImages"))
    root = annotations.parent
    faults, listing = Faults(strict=require_files), Listing()
    files = {name: root / f"{name}.txt" for name in SPLITS if (root / f"{name}.txt").is_file()}
    if not files:
        raise UserError(f"{root} holds no {', '.join(f'{name}.txt' for name in SPLITS)}: {_HINT}")
    check_split(split, files, root)
    numbers = {name: _read_numbers(path, listing) for name, path in files.items() if split in (name, ALL_SPLITS)}
    objects = _read_objects(annotations, listing)
    chosen = []
    for name, wanted in numbers.items():
        beyond = sum(number >= len(objects) for number in wanted)
        if beyond:
            raise UserError(
                f"{files[name]} lists {beyond} objects beyond the {len(objects)} that {annotations} holds: XML files "
                f"are missing, and all numbers would point to wrong objects; {_HINT}"
            )
        chosen += [(name, objects[number]) for number in wanted]
    images = find_image_folder(root, ("JPEGImages", "images"), (item.file_name for _, item in chosen))
    samples = []
    for (name, item), sample_id in zip(chosen, unique(item.id for _, item in chosen), strict=True):
        phrase = faults.phrase(item.element.findtext("description") or "", item.place)
        box = _box(item, faults)
        if phrase is not None and box is not None:
            samples.append(
                Sample(
                    id=sample_id,
                    image=images / item.file_name,
                    phrase=phrase,
                    load_mask=None,
                    boxes=(box,),
                    category=(item.element.findtext("name") or "").strip() or None,
                    split=name,
                    image_id=item.file_name,
                )
            )
    return finish("DIOR-RSVG", split, samples, place=root, listing=listing, faults=faults)


def _read_numbers(path: Path, listing: Listing) -> list[int]:
    """The object numbers of a split, each once."""
    text = listing.read(path, _HINT).decode("utf-8-sig", errors="replace")
    try:
        numbers = [int(line) for line in text.split()]
    except ValueError as error:
        raise UserError(f"{path} must hold the number of an object on each line ({error})") from None
    if numbers and min(numbers) < 0:
        raise UserError(f"{path} must hold the number of an object on each line, not {min(numbers)}")
    return list(dict.fromkeys(numbers))


def _read_objects(annotations: Path, listing: Listing) -> list[_Object]:
    """All objects in the order in which the split files count them."""
    # Names with a dot in front are not part of the data set: macOS puts "._00001.xml" beside files that it copies.
    files = sorted(p for p in annotations.iterdir() if p.name.endswith(".xml") and not p.name.startswith("."))
    objects = []
    for path in files:
        root = _parse(listing.read(path, _HINT), path)
        stem = path.name.removesuffix(".xml")
        file_name = (root.findtext("filename") or "").strip() or f"{stem}.jpg"
        for number, element in enumerate(root.findall("object")):
            objects.append(_Object(f"{path}, object {number}", f"{stem}-{number}", file_name, element))
    return objects


class _PlainTree(ElementTree.TreeBuilder):
    """Refuses document types: they may define entities, which can grow without bound or name other files."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise _DoctypeError


class _DoctypeError(Exception):
    """A document begins with a type."""


def _parse(content: bytes, path: Path) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(content, ElementTree.XMLParser(target=_PlainTree()))
    except _DoctypeError:
        raise UserError(
            f"{path} is not read: annotations need no <!DOCTYPE>; get the file from its authors again"
        ) from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{path} is not valid XML ({error}); download it again") from None


def _box(item: _Object, faults: Faults) -> Box | None:
    """xmin, ymin, xmax, ymax as published, in either order of the corners."""
    found: Mapping[str, str] = {child.tag: child.text or "" for child in item.element.findall("bndbox/*")}
    try:
        x0, y0, x1, y1 = (float(found[key]) for key in ("xmin", "ymin", "xmax", "ymax"))
    except KeyError as error:
        faults.add(f"{item.place}: the box lacks {error}")
        return None
    except ValueError as error:
        faults.add(f"{item.place}: the box is malformed ({error})")
        return None
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
