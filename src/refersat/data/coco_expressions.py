"""COCO instances with expressions.

An instances file whose annotations say `"sentences": ["the ship on the left", ...]`: phrases that name this object.
Phrases that name several objects, or nothing, stand in a list of their own beside "images" and "annotations":
`"expressions": [{"image_id", "sentence", "annotation_ids": [...]}, ...]`, optionally with "id", "split" and "type".
A "split" may also stand at an annotation or at an image, or each split has a file: `train.json`, `instances_val.json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from refersat.data.annotations import Annotations, Entry, samples_of
from refersat.data.listing import Faults, Listing, finish, of_split, unique
from refersat.data.refer import REFERENCES, read_refer
from refersat.data.samples import ALL_SPLITS, Sample, SampleSet
from refersat.errors import UserError

SENTENCES = ("sentences", "expressions", "captions", "sentence", "expression", "caption")
"""Names of the phrases at an annotation: a list of texts, or of objects as REFER has them, or one text."""

SPLITS = ("train", "val", "test")
IMAGES = ("images/{split}", "{split}", "JPEGImages", "images", "image", "")

_FILES = ("{split}.json", "instances_{split}.json", "instances_{split}2017.json")
_WHOLE = ("instances.json", "annotations.json")
_HINT = "give the instances file, or the folder that holds it"


def read_coco_expressions(place: str | Path, *, split: str = ALL_SPLITS, require_files: bool = True) -> SampleSet:
    """List the samples of a COCO instances file with expressions; masks are made later, one by one.

    Args:
        place: the instances file, or a folder: of one file, of a file for each split, or of RefCOCO's kind (with
            refs(unc).p), with the files in it or in its folder `annotations`.
        split: "all" takes everything, and so does any name where nothing has a split.
        require_files: whether anything wrong is an error; else it is left out and told in the set's `faults`, and
            images are not looked for.

    Raises:
        UserError: what is missing or malformed, and in which file.
    """
    place = Path(place)
    if place.is_dir() and any(path for pattern in REFERENCES for path in place.glob(pattern)):
        return read_refer(place, split=split, require_files=require_files)
    faults, listing = Faults(strict=require_files), Listing()
    samples = [
        sample
        for path, file_split in _files(place, split)
        for sample in _read_file(path, file_split, split, listing, faults)
    ]
    ids = unique(sample.id for sample in samples)
    samples = [replace(sample, id=unique_id) for sample, unique_id in zip(samples, ids, strict=True)]
    name = place.stem if place.is_file() else place.absolute().name
    return finish(name, split, samples, place=place, listing=listing, faults=faults)


def _read_file(path: Path, file_split: str | None, split: str, listing: Listing, faults: Faults) -> list[Sample]:
    """The samples of one instances file; `file_split` is what its name says, `split` what was asked for."""
    content = listing.read_json(path, _HINT)
    known = Annotations(content, path)
    entries = [*_at_annotations(known, file_split, faults), *_in_list(content, known, file_split, faults)]
    if not entries:
        faults.add(
            f'{path} holds no expressions: give its annotations "sentences", or make phrases for its objects with '
            f"`refersat data generate coco:{path}`"
        )
    chosen = of_split(split, entries, [entry.split for entry in entries], path)
    return samples_of(chosen, known, [folder.format(split=file_split or path.stem) for folder in IMAGES], faults)


def _files(place: Path, split: str) -> list[tuple[Path, str | None]]:
    """The instances files to read, and the split that each one's name says."""
    if place.is_file():
        return [(place, None)]
    if not place.is_dir():
        raise UserError(f"{place}: no such file or folder; {_HINT}")
    folders = (place, place / "annotations")
    whole = _first_file(folders, _WHOLE)
    by_split: list[tuple[Path, str | None]] = []
    for name in SPLITS if split == ALL_SPLITS else (split,):
        path = _first_file(folders, [pattern.format(split=name) for pattern in _FILES])
        if path is not None:
            by_split.append((path, name))
    if whole is not None and (split == ALL_SPLITS or not by_split):
        return [(whole, None)]
    if not by_split:
        raise UserError(f"{place} holds no {' or '.join(_WHOLE)}, nor a file for the split {split!r}: {_HINT}")
    return by_split


def _first_file(folders: Sequence[Path], names: Sequence[str]) -> Path | None:
    return next((path for folder in folders for name in names if (path := folder / name).is_file()), None)


def _at_annotations(known: Annotations, file_split: str | None, faults: Faults) -> Iterator[Entry]:
    for number, annotation in known.annotations.items():
        texts = _texts(annotation)
        if not texts:
            continue
        place = f"{known.path}: annotation {number}"
        target = known.target(number, place, faults)
        phrases = [phrase for text in texts if (phrase := faults.phrase(text, place)) is not None]
        if target is None:
            continue
        for k, phrase in enumerate(phrases):
            yield Entry(
                id=number if len(phrases) == 1 else f"{number}-{k}",
                place=place,
                image_id=annotation.get("image_id"),
                phrase=phrase,
                targets=[target],
                split=_split_of(annotation, known) or file_split,
                type=_text(annotation.get("type")),
            )


def _in_list(content: Mapping[str, Any], known: Annotations, file_split: str | None, faults: Faults) -> Iterator[Entry]:
    items = content.get("expressions", [])
    if not isinstance(items, list):
        raise UserError(f'{known.path}: "expressions" must be a list')
    for number, item in enumerate(items):
        place = f"{known.path}: expression {number}"
        ids = item.get("annotation_ids") if isinstance(item, dict) else None
        if not isinstance(ids, list):
            faults.add(f"{place} must be an object with image_id, sentence and annotation_ids (a list)")
            continue
        targets = [target for i in ids if (target := known.target(i, place, faults)) is not None]
        elsewhere = [t for t in targets if str(t.annotation.get("image_id")) != str(item.get("image_id"))]
        if elsewhere:
            faults.add(f"{place} points to an annotation of image {elsewhere[0].annotation.get('image_id')}")
            continue
        phrase = faults.phrase(item.get("sentence"), place)
        if phrase is not None and len(targets) == len(ids):
            yield Entry(
                id=_text(item.get("id")) or f"e{number}",
                place=place,
                image_id=item.get("image_id"),
                phrase=phrase,
                targets=targets,
                split=_split_of(item, known) or file_split,
                category_id=item.get("category_id"),
                type=_text(item.get("type")),
            )


def _split_of(item: Mapping[str, Any], known: Annotations) -> str | None:
    """Its own, or its image's."""
    return _text(item.get("split") or known.images.get(str(item.get("image_id")), {}).get("split"))


def _texts(annotation: Mapping[str, Any]) -> list[Any]:
    found: Any = next((annotation[key] for key in SENTENCES if annotation.get(key)), [])
    texts = found if isinstance(found, list) else [found]
    return [text.get("raw") or text.get("sent") if isinstance(text, dict) else text for text in texts]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
