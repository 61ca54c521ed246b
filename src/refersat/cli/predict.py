"""`refersat predict`: masks of what phrases name in images."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refersat.cli.options import (
    Bands,
    BatchSize,
    Device,
    Dtype,
    Model,
    Out,
    Phrases,
    Threshold,
    Verbose,
    band_numbers,
    say_what_runs,
)
from refersat.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refersat.answer_files import Written

_KEPT_IMAGES = 8  # images that stay in memory between the check of all and their turn


def predict(
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="IMAGE...",
            help="Aerial images: GeoTIFF, TIFF, PNG, JPEG or anything else that rasterio or Pillow opens.",
            show_default=False,
        ),
    ] = None,
    phrases: Phrases = None,
    model: Model = "built-in",
    out: Out = Path("out"),
    threshold: Threshold = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    batch_size: BatchSize = None,
    bands: Bands = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON list of the answers to stdout, and nothing else.")
    ] = False,
    explain: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Also draw how the model came to each answer, step by step: FOLDER/STEM-1.explain.png and so on.",
            show_default=False,
        ),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Find what each PHRASE names in each IMAGE and write its mask, a picture of it, and polygons.

    Per image and phrase, numbered from 1: STEM-1.mask.tif (0 and 255, size and georeferencing of the image) and
    STEM-1.overlay.png. Per image: STEM.geojson, in longitude and latitude where the image is georeferenced, else in
    pixels.

    Example: refersat predict harbour.tif -t "the ship on the left" -t "the storage tanks" --out found
    """
    if not images:
        raise UserError("no image given: refersat predict IMAGE -t PHRASE")
    if not phrases:
        raise UserError('no phrase given: add for example -t "the ship on the left"')
    from refersat.question import check_phrase, check_threshold

    plain = [check_phrase(phrase) for phrase in phrases]
    check_threshold(threshold)
    _require_distinct_names(images, len(plain), out, explain)

    from functools import lru_cache, partial

    from refersat.imagery import read_image
    from refersat.output import output_folder

    read = lru_cache(maxsize=_KEPT_IMAGES)(partial(read_image, bands=band_numbers(bands)))
    for path in images:
        read(path)  # before the model answers anything, so that a bad file at the end does not spoil a long run

    import refersat
    from refersat.answer_files import write_answers
    from refersat.cli.collection import uncollected
    from refersat.cli.progress import progress

    with output_folder(out), output_folder(explain) if explain else nullcontext():
        with uncollected():
            segmenter = refersat.load(model, device=device, dtype=dtype)
        if verbose:
            say_what_runs(segmenter)
        questions = ((read(path), phrase) for path in images for phrase in plain)
        results = segmenter.stream(questions, threshold=threshold, batch_size=batch_size)
        with progress("answering", len(images) * len(plain), least=2) as advance:
            answers = []
            for path in images:
                about_one = islice(results, len(plain))
                answers += write_answers(about_one, str(path), out / path.stem, sheets=explain, advance=advance)
    if as_json:
        typer.echo(json.dumps([answer.item for answer in answers], indent=2))
    else:
        _print_table(answers, out, explain)


def _require_distinct_names(images: Sequence[Path], phrase_count: int, out: Path, explain: Path | None) -> None:
    """Refuse images whose answers would overwrite each other, or another input."""
    from refersat.answer_files import EXPLAIN_ENDING

    seen: dict[str, Path] = {}
    inputs = {os.path.realpath(path) for path in images}
    for path in images:
        stem = path.stem.casefold()  # some file systems do not tell upper from lower case
        if stem in seen:
            raise UserError(
                f"{seen[stem]} and {path} would both write {path.stem}.geojson: run them apart, with different --out"
            )
        seen[stem] = path
        kinds = [(out, "mask.tif", "--out"), (out, "overlay.png", "--out")]
        if explain:
            kinds.append((explain, EXPLAIN_ENDING, "--explain"))
        for folder, kind, option in kinds:
            for name in (f"{path.stem}-{k}.{kind}" for k in range(1, phrase_count + 1)):
                if os.path.realpath(folder / name) in inputs:
                    raise UserError(f"the answer for {path} would overwrite the image {name}: give another {option}")


def _print_table(answers: Sequence[Written], out: Path, explain: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from refersat.answer_files import EXPLAIN_ENDING

    table = Table("image", "phrase", "found", box=None, pad_edge=False, header_style="bold")
    table.add_column("score", justify="right")
    table.add_column("area", justify="right", no_wrap=True)
    for answer in answers:
        item = answer.item
        found = Text("yes", "green") if item["present"] else Text("no", "yellow")
        area = f"{answer.area:,.0f} {answer.area_unit.replace('m2', 'm²')}"
        table.add_row(Text(Path(item["image"]).name), Text(item["phrase"]), found, f"{item['score']:.2f}", area)
    console = Console()
    console.print(table)
    images = len({answer.item["image"] for answer in answers})
    text = f"Wrote {len(answers)} .mask.tif, {len(answers)} .overlay.png and {images} .geojson to {out}"
    console.print(Text(text), soft_wrap=True)
    if explain:
        console.print(Text(f"and {len(answers)} .{EXPLAIN_ENDING} to {explain}"), soft_wrap=True)
