"""`refersat data stats`: what is in a data set, as a table and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refersat.cli.options import Split, Workers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

    from refersat.data.stats import Stats

_MOST_ROWS = 20
_BAR_WIDTH = 32


def stats(
    source: Annotated[str, typer.Argument(metavar="KIND:PATH", help="The data set, for example triplets:FOLDER.")],
    split: Split = "all",
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where stats.html, stats.json and the charts go.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
    workers: Workers = None,
) -> None:
    """Count what is in a data set: sizes, categories, phrases, and where the targets are."""
    from contextlib import nullcontext

    from refersat.cli.progress import progress
    from refersat.data.sources import read_samples
    from refersat.data.stats import collect_stats
    from refersat.output import output_folder

    data_set = read_samples(source, split=split)
    images = len({sample.image for sample in data_set.samples})
    written: list[Path] = []
    with output_folder(out) if out is not None else nullcontext():
        with progress(f"counting {data_set.name}", images) as on_image:
            found = collect_stats(data_set, workers=workers, on_image=on_image)
        if out is not None:
            from refersat.data.stats_page import write_stats

            written = write_stats(out, found)
    if as_json:
        import json

        typer.echo(json.dumps(found.as_dict(), indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console()
    for table in _tables(found):
        console.print(table)
        console.print()
    if written:
        console.print(*written, sep="\n", highlight=False, soft_wrap=True, markup=False)


def _tables(found: Stats) -> list[Table]:
    from refersat.data.charts import clipped

    tables = [_summary(found)]
    counts = (
        ("split", dict(found.splits.most_common())),
        ("category", dict(found.categories.most_common())),
        ("type of phrase", dict(found.types.most_common())),
        ("words in a phrase", clipped(found.lengths)),
        ("size of image", found.sizes()),
        ("target, % of the image", found.areas() if found.shares else {}),
    )
    tables += [_bars(title, rows) for title, rows in counts if rows]
    if found.shares:
        tables.append(_thirds(found))
    return tables


def _summary(found: Stats) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(found.name, style="bold"), title_justify="left", box=None, show_header=False, pad_edge=False
    )
    table.add_column(justify="right", style="bold")
    table.add_column()
    rows = (
        (found.samples, "samples"),
        (found.images, "images"),
        (len(found.phrases), "different phrases"),
        (len(found.words), "different words"),
        (found.absent, "phrases that name nothing"),
        (found.boxes_only, "samples with boxes only"),
    )
    for number, name in rows:
        table.add_row(f"{number:,}", Text(name))
    return table


def _bars(title: str, counts: Mapping[str, int]) -> Table:
    from rich.bar import Bar
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(title, no_wrap=True, min_width=24)
    table.add_column("samples" if title != "size of image" else "images", justify="right")
    table.add_column("", justify="right")
    table.add_column("", width=_BAR_WIDTH)
    total, most = sum(counts.values()), max(counts.values())
    rows = list(counts.items())
    for name, count in rows[:_MOST_ROWS]:
        bar = Bar(most, 0, count, width=_BAR_WIDTH, color="blue")
        table.add_row(Text(name), f"{count:,}", f"{100 * count / total:.1f} %", bar)
    if rest := rows[_MOST_ROWS:]:
        count = sum(number for _, number in rest)
        table.add_row(f"{len(rest)} others", f"{count:,}", f"{100 * count / total:.1f} %", "")
    return table


def _thirds(found: Stats) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("centre of the target", "left", "middle", "right"):
        table.add_column(name, justify="right" if name != "centre of the target" else "left")
    for name, row in zip(("top", "middle", "bottom"), found.thirds(), strict=True):
        table.add_row(name, *(f"{100 * share:.0f} %" for share in row))
    return table
