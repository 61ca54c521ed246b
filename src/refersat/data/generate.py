"""Writes a `triplets` folder with generated expressions for a data set that has outlines but no phrases."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from refersat.data.coco import CocoFile, CocoImage
from refersat.errors import UserError
from refersat.text.expressions import DEFAULT_WEIGHTS, Expression, Grammar, sample_expressions

LIST_NAME = "refs.json"


@dataclass(frozen=True)
class GenerateOptions:
    """What to generate.

    ``absent_share`` is the share of phrases that name nothing in their image (fewer where none can be said safely);
    ``never_absent`` are the categories of which that is never said, because not all of them are labelled.
    """

    per_image: int = 10
    absent_share: float = 0.25
    seed: int = 0
    grammar: Grammar = field(default_factory=Grammar)
    never_absent: frozenset[str] = frozenset()
    copy_images: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        if self.per_image < 1:
            raise UserError(f"the number of phrases per image must be at least 1, not {self.per_image}")
        if not 0 <= self.absent_share <= 1:
            raise UserError(f"the share of absent phrases must be between 0 and 1, not {self.absent_share:g}")
        if self.seed < 0:
            raise UserError(f"the seed must not be negative, not {self.seed}")


def generate_triplets(
    source: CocoFile,
    images: Path,
    out: Path,
    *,
    options: GenerateOptions,
    overwrite: bool = False,
    progress: Callable[[Iterable[CocoImage]], Iterable[CocoImage]] = lambda found: found,
) -> Counter[str]:
    """Write ``out``/refs.json, ``out``/masks and, when asked for, ``out``/images; returns the phrases of each kind.

    Everything is written beside ``out`` first and moved in place at the end. The same seed and source give the same
    files.

    Raises:
        UserError: an image is missing or not as large as the source says; ``out`` exists (without ``overwrite``), or
            is a folder that no such list lies in; ``out`` cannot be written.
    """
    unknown = sorted(options.never_absent - set(source.categories))
    if unknown:
        raise UserError(f"no such category: {', '.join(unknown)}; there are {', '.join(source.categories)}")
    _check_target(out, overwrite)
    _require_images(source, images)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror})") from None
    try:
        partial.chmod(0o777 & ~_umask())
        (partial / "masks").mkdir()
        items: list[dict[str, Any]] = []
        for number, image in enumerate(progress(source.images)):
            rng = np.random.default_rng((options.seed, number))
            path = _place_image(image, images, partial, out, options.copy_images)
            items += _write_image(image, path, partial, _expressions(image, source.categories, options, rng))
        text = json.dumps(items, indent=1, ensure_ascii=False) + "\n"
        (partial / LIST_NAME).write_text(text, encoding="utf-8")
        _move_in_place(partial, out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Counter(item["type"] for item in items)


def _expressions(
    image: CocoImage, categories: tuple[str, ...], options: GenerateOptions, rng: np.random.Generator
) -> list[Expression]:
    """Present and absent phrases in the wanted shares; each phrase once."""
    absent_count = round(options.per_image * options.absent_share)
    found: dict[str, Expression] = {}
    for absent, count in ((False, options.per_image - absent_count), (True, absent_count)):
        weights = {kind: weight for kind, weight in DEFAULT_WEIGHTS.items() if kind.startswith("absent") == absent}
        for expression in sample_expressions(
            image.objects, image.width, image.height, rng, count=count, grammar=options.grammar, weights=weights,
            vocabulary=categories, never_absent=options.never_absent,
        ):  # fmt: skip
            found.setdefault(expression.phrase, expression)
    return list(found.values())


def _write_image(image: CocoImage, path: str, folder: Path, expressions: list[Expression]) -> list[dict[str, Any]]:
    """The items of one image; phrases that name the same objects share a mask file."""
    stem = Path(image.file_name).with_suffix("").as_posix().replace("/", "-")
    masks: dict[tuple[int, ...], str | None] = {(): None}
    items = []
    for number, expression in enumerate(expressions):
        if expression.targets not in masks:
            name = f"masks/{stem}-{len(masks)}.png"
            pixels = image.mask(expression.targets).astype(np.uint8) * 255
            Image.fromarray(pixels).save(folder / name)
            masks[expression.targets] = name
        items.append(
            {
                "id": f"{stem}-{number}",
                "image": path,
                "mask": masks[expression.targets],
                "sentence": expression.phrase,
                "type": expression.kind,
                "category": expression.category,
                "wording": "heldout" if expression.heldout else "train",
            }
        )
    return items


def _place_image(image: CocoImage, images: Path, partial: Path, out: Path, copy: bool) -> str:
    """The path of the image to write into the list, relative to ``out``."""
    source = images / image.file_name
    try:
        with Image.open(source) as opened:
            size = opened.size
    except (UnidentifiedImageError, OSError):
        raise UserError(f"{source}: not an image that can be read") from None
    if size != (image.width, image.height):
        raise UserError(f"{source}: is {size[0]} x {size[1]}, but its outlines are for {image.width} x {image.height}")
    if not copy:
        return Path(os.path.relpath(source.resolve(), out.resolve())).as_posix()
    target = partial / "images" / image.file_name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return target.relative_to(partial).as_posix()


def _require_images(source: CocoFile, images: Path) -> None:
    """Before hours of work, not in their midst."""
    for image in source.images:
        path = images / image.file_name
        if not path.is_file():
            raise UserError(f"{path}: no such image; --images must name the folder that the file names start from")


def _check_target(out: Path, overwrite: bool) -> None:
    if not out.exists():
        return
    if not overwrite:
        raise UserError(f"{out}: exists already; give another folder, or --overwrite to replace it")
    if not (out / LIST_NAME).is_file():
        raise UserError(f"{out}: holds no {LIST_NAME}, so it was not made by this command and is not replaced")


def _move_in_place(partial: Path, out: Path) -> None:
    if not out.exists():
        partial.rename(out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
    out.rename(old / out.name)
    try:
        partial.rename(out)
    except OSError:
        (old / out.name).rename(out)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    """The process's umask: temporary folders are private, the finished one is like any other."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
