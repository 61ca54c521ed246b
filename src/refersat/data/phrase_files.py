"""Folders of images and of masks, with a file of phrases for each split: RefSegRS, RISBench and whatever looks alike.

A line of `output_phrase_<split>.txt` is the name of an image, a blank, and the phrase. The mask has the image's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from refersat.data.listing import Faults, Listing, check_split, finish, unique
from refersat.data.masks import read_mask
from refersat.data.places import find_listing
from refersat.data.samples import ALL_SPLITS, Sample, SampleSet
from refersat.errors import UserError

PHRASES = ("output_phrase_*.txt", "phrases_*.txt")

_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".bmp", ".webp")


@dataclass(frozen=True)
class Layout:
    """How one data set does it.

    Attributes:
        name: of the data set; the folder's name where it is None.
        images: possible names of the folder of images.
        masks: possible names of the folder of masks.
        suffix: of files that are named without one and are not there, for messages.
        above: mask values over this are foreground.
    """

    name: str | None
    images: tuple[str, ...]
    masks: tuple[str, ...]
    suffix: str = ""
    above: int = 0


REFSEGRS = Layout("RefSegRS", ("images",), ("masks",), suffix=".tif", above=50)
"""Its masks are 0 and 255 in three equal bands. Public readers cut at 0 or at 50, we at 50; a mask with values
between would tell them apart, and `refersat data verify` looks for one."""

RISBENCH = Layout("RISBench", ("img_rgb",), ("mask",))

ANY = Layout(None, ("images", "img_rgb", "image"), ("masks", "mask"))


@dataclass(frozen=True)
class _Line:
    split: str
    name: str
    phrase: str


def read_phrase_files(
    folder: str | Path, *, layout: Layout = ANY, split: str = ALL_SPLITS, require_files: bool = True
) -> SampleSet:
    """List the samples of a data set with phrase files; masks are read later, one by one.

    The splits are those of the phrase files' names. Names may come with their suffix or without; what a name begins
    with says nothing of its split (RISBench's val names `train_*` files).

    Args:
        folder: with the phrase files; or the one above it, or the folder of images or masks in it.
        layout: names of the folders.
        split: "all" takes everything.
        require_files: whether anything wrong is an error; else it is left out and told in the set's `faults`, and
            images and masks are not looked for.

    Raises:
        UserError: what is missing or malformed, and in which file.
    """
    inner = (*layout.images, *layout.masks)
    root = find_listing(Path(folder), PHRASES, what="output_phrase_<split>.txt", inner=inner).parent
    faults, listing = Faults(strict=require_files), Listing()
    files = _splits(root)
    check_split(split, files, root)
    chosen = [name for name in files if split in (name, ALL_SPLITS)]
    lines = [line for name in chosen for line in _read_lines(files[name], name, listing, faults)]
    images, masks = (_Folder.find(root, names, layout.suffix) for names in (layout.images, layout.masks))
    samples = []
    mask_files = []
    ids = unique(f"{line.split}-{Path(line.name).stem}" for line in lines)
    for sample_id, line in zip(ids, lines, strict=True):
        mask = masks.file(line.name)
        mask_files.append(mask)
        samples.append(
            Sample(
                id=sample_id,
                image=images.file(line.name),
                phrase=line.phrase,
                load_mask=partial(read_mask, mask, above=layout.above),
                split=line.split,
                image_id=line.name,
                mask_file=mask,
            )
        )
    name = layout.name or root.name
    return finish(name, split, samples, place=root, listing=listing, faults=faults, files=mask_files)


def _splits(root: Path) -> dict[str, Path]:
    """Split -> its phrase file, in the usual order."""
    usual = {"train": 0, "val": 1, "test": 2}
    found = {}
    for path in root.iterdir():
        match = re.fullmatch(r"(?:output_phrase|phrases)_(.+)\.txt", path.name)
        if match:
            found[match[1]] = path
    return dict(sorted(found.items(), key=lambda item: (usual.get(item[0], 3), item[0])))


def _read_lines(path: Path, split: str, listing: Listing, faults: Faults) -> list[_Line]:
    content = listing.read(path, "give the folder of the phrase files")
    lines = []
    # Not `splitlines`, which also cuts at characters that a phrase may hold.
    for number, text in enumerate(content.decode("utf-8-sig", errors="replace").split("\n"), start=1):
        name, _, phrase = text.strip().partition(" ")
        if not name:
            continue
        checked = faults.phrase(phrase, f"{path}, line {number}")
        if checked is not None:
            lines.append(_Line(split, name, checked))
    return lines


@dataclass(frozen=True)
class _Folder:
    """A folder of images or masks: finds files by names with or without suffix."""

    path: Path
    names: frozenset[str]
    by_stem: Mapping[str, str]
    suffix: str

    @classmethod
    def find(cls, root: Path, possible: Sequence[str], suffix: str) -> _Folder:
        path = next((root / name for name in possible if (root / name).is_dir()), None)
        if path is None:
            raise UserError(f"{root} holds no folder {' or '.join(possible)}: complete the download")
        names = sorted(file.name for file in path.iterdir() if not file.name.startswith("."))
        pictures = (name for name in names if Path(name).suffix.lower() in _SUFFIXES)
        return cls(path, frozenset(names), {Path(name).stem: name for name in pictures}, suffix)

    def file(self, name: str) -> Path:
        """The file of that name; if there is none, the one of that stem; if there is none, where it should be."""
        if name in self.names:
            return self.path / name
        likely = name if Path(name).suffix else name + self.suffix
        return self.path / self.by_stem.get(name, self.by_stem.get(Path(name).stem, likely))
