"""`refersat data preview`: a picture of some samples with their phrases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from refersat.cli.options import Split
from refersat.errors import UserError


def preview(
    source: Annotated[str, typer.Argument(metavar="KIND:PATH", help="The data set, for example triplets:FOLDER.")],
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="The picture to write.")],
    split: Split = "all",
    count: Annotated[int, typer.Option(metavar="N", help="Samples to show.")] = 24,
    seed: Annotated[int, typer.Option(help="Source of chance: the same seed shows the same samples.")] = 0,
) -> None:
    """Draw a contact sheet: samples by chance, masks and boxes painted in, phrases below."""
    if out.suffix.lower() != ".png":
        raise UserError(f"{out}: the picture is a PNG, give --out FILE.png")
    from io import BytesIO

    from refersat.cli.progress import progress
    from refersat.data.preview import choose, draw_sheet
    from refersat.data.sources import read_samples
    from refersat.output import output_folder, write_file

    data_set = read_samples(source, split=split)
    chosen = choose(data_set.samples, count, seed)
    subtitle = f"{len(chosen):,} of {len(data_set.samples):,} samples · split {split} · seed {seed}"
    with output_folder(out.parent):
        with progress(f"drawing {data_set.name}", len(chosen)) as on_sample:
            sheet = draw_sheet(chosen, title=data_set.name, subtitle=subtitle, on_sample=on_sample)
        content = BytesIO()
        sheet.save(content, "PNG")
        write_file(out, content.getvalue())
    typer.echo(out)
