"""`refersat data generate`: phrases and masks for outlined objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refersat.errors import UserError

if TYPE_CHECKING:
    from refersat.data.coco import CocoImage


class Wording(StrEnum):
    """Which wordings phrases are made of."""

    train = "train"
    heldout = "heldout"
    all = "all"


def generate(
    source: Annotated[
        str, typer.Argument(metavar="KIND:PATH", help="Outlines to describe, coco:FILE (an instances file of COCO).")
    ],
    images: Annotated[Path, typer.Option(help="Folder of the images.", metavar="FOLDER")],
    out: Annotated[Path, typer.Option(help="Folder to write, in the triplets layout.", metavar="FOLDER")],
    seed: Annotated[int, typer.Option(help="Source of chance: the same seed gives the same files.")] = 0,
    per_image: Annotated[int, typer.Option(help="Phrases per image.")] = 10,
    absent: Annotated[float, typer.Option(help="Share of phrases that name nothing in their image.")] = 0.25,
    style: Annotated[
        Wording, typer.Option(help="Wordings: those to train with, those held out for validation, or both halves.")
    ] = Wording.train,
    never_absent: Annotated[
        list[str] | None,
        typer.Option(
            help="A category that is not labelled everywhere: never said to be absent. Repeatable.", metavar="NAME"
        ),
    ] = None,
    copy_images: Annotated[
        bool, typer.Option("--copy-images", help="Copy the images, rather than point to them.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a folder written before.")] = False,
) -> None:
    """Make referring expressions, and masks of what they name, for images whose objects are outlined."""
    kind, _, path = source.partition(":")
    if kind != "coco" or not path:
        raise UserError(f"{source}: must be coco:FILE, an instances file of COCO")

    from rich.console import Console

    from refersat.cli.progress import progress
    from refersat.data.coco import read_coco
    from refersat.data.generate import GenerateOptions, generate_triplets
    from refersat.text.expressions import Grammar

    options = GenerateOptions(
        per_image=per_image,
        absent_share=absent,
        seed=seed,
        grammar=Grammar(style.value),
        never_absent=frozenset(never_absent or ()),
        copy_images=copy_images,
    )
    outlines = read_coco(Path(path))

    def told(found: Iterable[CocoImage]) -> Iterator[CocoImage]:
        with progress("describing", len(outlines.images)) as advance:
            for image in found:
                yield image
                advance()

    counts = generate_triplets(outlines, images, out, options=options, overwrite=overwrite, progress=told)
    kinds = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    Console(stderr=True).print(f"{sum(counts.values())} phrases in {out}: {kinds}", highlight=False, soft_wrap=True)
