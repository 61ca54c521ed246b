"""Images, annotations and categories of a COCO instances file, looked up by their ids, and samples made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refersat.box import Box
from refersat.data.listing import Faults
from refersat.data.places import find_image_folder
from refersat.data.samples import Sample
from refersat.data.segmentation import SegmentedMask, box_of, is_empty
from refersat.errors import UserError


@dataclass(frozen=True)
class Target:
    """What a phrase points to: an annotation, or nothing where the annotation outlines nothing."""

    annotation: Mapping[str, Any]
    box: Box | None

    @property
    def segmentation(self) -> Any:
        """Outline, None where there is none."""
        return None if is_empty(self.annotation.get("segmentation")) else self.annotation["segmentation"]


class Annotations:
    """An instances file's content by id. Ids are compared as text: some data sets write 7 here and "7" there."""

    def __init__(self, content: Any, path: Path) -> None:
        """Index the content of the file at `path`.

        Raises:
            UserError: it is no instances file.
        """
        if not isinstance(content, dict):
            raise UserError(f"{path}: not a COCO instances file, it holds no JSON object")
        self.path = path
        self.images = {str(item["id"]): item for item in self._items(content, "images")}
        self.annotations: dict[str, Mapping[str, Any]] = {}
        self._ambiguous: set[str] = set()
        for item in self._items(content, "annotations"):
            first = self.annotations.setdefault(str(item["id"]), item)
            if first is not item and first != item:
                self._ambiguous.add(str(item["id"]))
        self._categories = _category_names(content.get("categories"))

    def _items(self, content: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
        items = content.get(key)
        if not isinstance(items, list) or not all(isinstance(item, dict) and "id" in item for item in items):
            raise UserError(f'{self.path}: not a COCO instances file, "{key}" must be a list of objects with an id')
        return items

    def target(self, annotation_id: Any, place: str, faults: Faults) -> Target | None:
        """The target of an annotation id, or None and a fault."""
        annotation = self.annotations.get(str(annotation_id))
        if annotation is None:
            faults.add(f"{place} points to annotation {annotation_id}, which {self.path} lacks")
            return None
        if str(annotation_id) in self._ambiguous:
            faults.add(f"{place} points to annotation {annotation_id}, but {self.path} has several of that id")
            return None
        try:
            segmentation = annotation.get("segmentation")
            if is_empty(segmentation):
                return Target(annotation, _own_box(annotation))
            return Target(annotation, box_of(segmentation, self.size(annotation.get("image_id"))))
        except (TypeError, ValueError) as error:
            faults.add(f"{self.path}: the outline of annotation {annotation_id} cannot be read ({error})")
            return None

    def size(self, image_id: Any) -> tuple[int, int] | None:
        """(width, height) of an image, None where the file does not say them."""
        image = self.images.get(str(image_id), {})
        try:
            return int(image["width"]), int(image["height"])
        except (KeyError, TypeError, ValueError):
            return None

    def file_name(self, image_id: Any) -> str | None:
        """File of an image, None where the file does not say it."""
        name = self.images.get(str(image_id), {}).get("file_name")
        return name if isinstance(name, str) and name else None

    def category(self, targets: Iterable[Target], otherwise: Any = None) -> str | None:
        """Name of the category that all targets have, or, without targets, that of the category id `otherwise`."""
        ids = [_category_id(target.annotation) for target in targets]
        names = {self._categories.get(str(otherwise if number is None else number)) for number in ids or [otherwise]}
        return names.pop() if len(names) == 1 else None


@dataclass
class Entry:
    """One phrase about one image, before its files are looked for.

    Attributes:
        id: need not be unique yet.
        place: where it stands, for messages.
        image_id: in the instances file.
        phrase: checked.
        targets: all that it names.
        split: if it has one.
        category_id: used where there are no targets.
        type: of the phrase, if known.
        file_name: of the image, where the instances file does not say it.
    """

    id: str
    place: str
    image_id: Any
    phrase: str
    targets: list[Target]
    split: str | None
    category_id: Any = None
    type: str | None = None
    file_name: str | None = None


def samples_of(
    entries: Iterable[Entry], known: Annotations, image_folders: Sequence[str], faults: Faults
) -> list[Sample]:
    """The samples of the entries, of which those are left out whose image has no known file.

    The truth of each is the union of its targets; it is absent where they are nothing, and without a mask where the
    file gives boxes only. `image_folders` are looked for beside the instances file.
    """
    named = []
    for entry in entries:
        name = known.file_name(entry.image_id) or entry.file_name
        if name is None:
            faults.add(f"{entry.place} is about image {entry.image_id}, whose file {known.path} does not say")
        else:
            named.append((entry, name))
    folder = find_image_folder(known.path.parent, image_folders, (name for _, name in named))
    return [_sample(entry, folder / name, known) for entry, name in named]


def _sample(entry: Entry, image: Path, known: Annotations) -> Sample:
    outlines = tuple(target.segmentation for target in entry.targets if target.segmentation is not None)
    boxes = tuple(target.box for target in entry.targets if target.box is not None)
    return Sample(
        id=entry.id,
        image=image,
        phrase=entry.phrase,
        load_mask=SegmentedMask(outlines, known.size(entry.image_id), image, entry.place) if outlines else None,
        boxes=boxes,
        type=entry.type,
        category=known.category(entry.targets, entry.category_id),
        split=entry.split,
        image_id=str(entry.image_id),
        absent=not outlines and not boxes,
    )


def _category_names(categories: Any) -> dict[str, str | None]:
    """Id -> name, with blanks for underscores; an id that stands for two names (RemoteSAM-270K) stands for none."""
    names: dict[str, str | None] = {}
    for item in categories if isinstance(categories, list) else []:
        if not isinstance(item, dict) or "id" not in item or "name" not in item:
            continue
        number, name = str(item["id"]), str(item["name"]).replace("_", " ")
        names[number] = name if names.get(number, name) == name else None
    return names


def _category_id(annotation: Mapping[str, Any]) -> Any:
    """RRSIS-D calls it "categories_id"."""
    return annotation.get("category_id", annotation.get("categories_id"))


def _own_box(annotation: Mapping[str, Any]) -> Box | None:
    """The box that an annotation without outline says: x, y, width, height, as COCO has it; None if it is empty."""
    box = annotation.get("bbox")
    if not box:
        return None
    x, y, width, height = (float(number) for number in box)
    return (x, y, x + width, y + height) if width > 0 and height > 0 else None
