"""Options that several commands share, each with one wording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refersat.errors import UserError

if TYPE_CHECKING:
    from refersat.segmenter import Segmenter

Phrases = Annotated[
    list[str] | None,
    typer.Option(
        "-t",
        "--text",
        metavar="PHRASE",
        help="What to find, in English. Repeat it for more phrases: about one picture they share most of the work.",
        show_default=False,
    ),
]
Model = Annotated[
    str, typer.Option(metavar="NAME|FOLDER", help="A name that `refersat models list` shows, or a model folder.")
]
Out = Annotated[Path, typer.Option(metavar="FOLDER", help="Where the files go; it is made if missing.")]
Threshold = Annotated[
    float | None,
    typer.Option(
        metavar="P",
        help="A pixel is foreground above this probability, 0 to 1; the model's own rule by default.",
        show_default=False,
    ),
]
Bands = Annotated[
    str | None,
    typer.Option(
        metavar="R,G,B",
        help="Bands to read as red, green and blue, counted from 1, for example 4,3,2; or one band as grey.",
        show_default=False,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Questions that the model answers at once; on a CPU up to 8 about one picture, else 4. On a CPU 4 answers "
        "more pictures a second; in bfloat16 an answer then depends a little on the others.",
        show_default=False,
    ),
]
Device = Annotated[
    str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where the model runs; auto takes a GPU if there is one.")
]
Dtype = Annotated[
    str,
    typer.Option(
        metavar="auto|float32|bfloat16|int8",
        help="Number format; auto takes bfloat16 where it is fast, int8 saves memory on a CPU.",
    ),
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say which device and number format were taken.")]
Split = Annotated[str, typer.Option(metavar="NAME", help="Split of the data set; 'all' takes every sample.")]
Workers = Annotated[int | None, typer.Option(metavar="N", min=1, help="Processes; by default by the number of images.")]


def band_numbers(bands: str | None) -> tuple[int, ...] | None:
    """The numbers in a text like 4,3,2; None for None.

    Raises:
        UserError: it holds something else.
    """
    if bands is None:
        return None
    try:
        return tuple(int(band) for band in bands.split(","))
    except ValueError:
        raise UserError(f"--bands takes numbers with commas between them, for example 4,3,2, not {bands!r}") from None


def say_what_runs(segmenter: Segmenter) -> None:
    """Model, device and number format, on stderr."""
    millions = segmenter.parameters / 1e6
    about = f"device {segmenter.device}, dtype {segmenter.number_format}"
    typer.echo(f"model {segmenter.name} ({millions:.1f} M parameters), {about}", err=True)
