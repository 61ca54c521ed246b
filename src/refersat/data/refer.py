"""The layout of REFER, which RRSIS-D and its family have: a pickled list of references beside an instances file.

A reference is `{"ref_id", "image_id", "ann_id", "split", "sentences": [{"raw", "sent", ...}], ...}`. NWPU-Refer calls
its files `new_refs(unc).p` and `new_instances.json`; RemoteSAM-270K has `refs(unc)_RemoteSAM.p`; gRefCOCO writes JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from refersat.data.annotations import Annotations, Entry, samples_of
from refersat.data.listing import Faults, Listing, finish, of_split, unique
from refersat.data.pickles import load_plain
from refersat.data.places import find_listing
from refersat.data.samples import ALL_SPLITS, SampleSet
from refersat.errors import UserError

REFERENCES = ("new_refs(unc).p", "refs(unc).p", "refs(unc)*.p", "refs(*).p", "grefs(*).json", "refs(*).json")
INSTANCES = ("new_instances.json", "instances.json")
IMAGES = (
    "images/{name}/JPEGImages", "images/JPEGImages", "JPEGImages", "image/image", "image", "images",
    "images/mscoco/images/train2014", "images/train2014", "",
)  # fmt: skip

_HINT = "give the folder that holds refs(unc).p and instances.json, or the one above it"
_TRANSLATED = 0x2E80
"""From here on characters are Chinese, Japanese and the like."""


def read_refer(
    place: str | Path,
    *,
    split: str = ALL_SPLITS,
    name: str | None = None,
    folders: Iterable[str] = (),
    merge: bool = False,
    require_files: bool = True,
) -> SampleSet:
    """List the samples of a data set in the layout of REFER; masks are made later, one by one.

    Each sentence is a sample. Boxes are those of the masks, whatever the file says. A reference that points to no
    annotation, or to one that outlines nothing, is absent; a mask without foreground is not: it stays a sample with an
    empty truth.

    Args:
        place: the folder with the two files, the one above it, or the file of the references.
        split: "all" takes everything.
        name: of the data set; the folder's name by default.
        folders: names of the folder in which the files usually lie, should `place` hold several.
        merge: whether references to one image with the same sentence are one sample with several targets, as in
            NWPU-Refer; files of that data set's names are read so in any case.
        require_files: whether anything wrong is an error; else it is left out and told in the set's `faults`, and
            images are not looked for.

    Raises:
        UserError: what is missing or malformed, and in which file.
    """
    path = find_listing(
        Path(place), REFERENCES, what="refs(unc).p", prefer=tuple(folders), inner=("JPEGImages", "images", "image")
    )
    faults, listing = Faults(strict=require_files), Listing()
    references = _references(path, listing)
    known = _instances(path, listing)
    chosen = of_split(split, references, [_split_of(reference) for reference in references], path)
    entries = [entry for reference in chosen for entry in _entries(reference, path, known, faults)]
    if merge or path.name.startswith("new_"):
        entries = _merged(entries)
    for entry, unique_id in zip(entries, unique(entry.id for entry in entries), strict=True):
        entry.id = unique_id
    samples = samples_of(entries, known, [folder.format(name=path.parent.name) for folder in IMAGES], faults)
    return finish(name or path.parent.name, split, samples, place=path, listing=listing, faults=faults)


def _references(path: Path, listing: Listing) -> list[Mapping[str, Any]]:
    as_json = path.suffix == ".json"
    references = listing.read_json(path, _HINT) if as_json else load_plain(listing.read(path, _HINT), path)
    if not isinstance(references, list) or not all(isinstance(reference, dict) for reference in references):
        raise UserError(f"{path} must hold a list of references, each with image_id, ann_id, split and sentences")
    return references


def _instances(path: Path, listing: Listing) -> Annotations:
    """Of the two possible names the one that goes with the references'."""
    names = INSTANCES if path.name.startswith("new_") else INSTANCES[::-1]
    found = next((path.parent / name for name in names if (path.parent / name).is_file()), path.parent / names[0])
    return Annotations(listing.read_json(found, _HINT), found)


def _split_of(reference: Mapping[str, Any]) -> str | None:
    split = reference.get("split")
    return None if split is None else str(split)


def _entries(reference: Mapping[str, Any], path: Path, known: Annotations, faults: Faults) -> list[Entry]:
    """The sentences of a reference; none, and a fault, where it is malformed."""
    number = reference.get("ref_id", reference.get("image_id"))
    place = f"{path}: reference {number}"
    if not {"ann_id", "ann_ids", "no_target"} & reference.keys():
        faults.add(f"{place} lacks ann_id")
        return []
    ids = _annotation_ids(reference)
    targets = [target for i in ids if (target := known.target(i, place, faults)) is not None]
    if len(targets) < len(ids):
        return []
    texts = _texts(reference.get("sentences"))
    if not texts:
        faults.add(f"{place} has no sentence")
    phrases = [phrase for text in texts if (phrase := faults.phrase(text, place)) is not None]
    return [
        Entry(
            id=str(number) if len(phrases) == 1 else f"{number}-{k}",
            place=place,
            image_id=reference.get("image_id"),
            phrase=phrase,
            targets=list(targets),
            split=_split_of(reference),
            category_id=reference.get("category_id"),
            file_name=_file_name(reference),
        )
        for k, phrase in enumerate(phrases)
    ]


def _annotation_ids(reference: Mapping[str, Any]) -> list[Any]:
    """None where the phrase names nothing, which is written as no id, -1, an empty list or "no_target"."""
    ids = reference.get("ann_id", reference.get("ann_ids"))
    ids = list(ids) if isinstance(ids, (list, tuple)) else [ids]
    return [] if reference.get("no_target") else [i for i in ids if i not in (None, -1, "")]


def _texts(sentences: Any) -> list[Any]:
    """As published ("raw") rather than cut into words ("sent"); translations only where there is nothing else."""
    texts = []
    for sentence in sentences if isinstance(sentences, (list, tuple)) else []:
        text = sentence.get("raw") or sentence.get("sent") if isinstance(sentence, dict) else sentence
        texts.append(text)
    return [text for text in texts if not _is_translated(text)] or texts


def _is_translated(text: Any) -> bool:
    return isinstance(text, str) and not text.isascii() and any(ord(c) >= _TRANSLATED for c in text)


def _merged(entries: Iterable[Entry]) -> list[Entry]:
    """One entry for each image, split and phrase, with the targets of all."""
    merged: dict[tuple[str, str | None, str], Entry] = {}
    for entry in entries:
        first = merged.setdefault((str(entry.image_id), entry.split, entry.phrase), entry)
        if first is not entry:
            first.targets += [target for target in entry.targets if target not in first.targets]
    return list(merged.values())


def _file_name(reference: Mapping[str, Any]) -> str | None:
    """Only for want of a better one: RefCOCO's references add the number of the object to the name."""
    name = reference.get("file_name")
    return name if isinstance(name, str) and name else None
