"""`refersat evaluate`: measures a model on a data set."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def evaluate(
    data: Annotated[str, typer.Option(metavar="KIND:PATH", help="The data set, for example triplets:FOLDER.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where metrics.json and per_sample.csv go.")],
    model: Annotated[str, typer.Option(metavar="NAME|FOLDER", help="Model name or folder.")] = "built-in",
    split: Annotated[
        str, typer.Option(metavar="NAME", help="Split of the data set; 'all' takes every sample.")
    ] = "all",
    protocol: Annotated[
        str | None,
        typer.Option(metavar="native|480|1024", help="Grid of the comparison; all three when left out."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(metavar="P", help="A pixel is foreground above this probability; the model's own by default."),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", help="Samples that the model answers at once; 1 on a CPU, else 4.")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first N samples.")] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where the model runs.")] = "auto",
    dtype: Annotated[str, typer.Option(metavar="auto|float32|bfloat16", help="Precision of the model.")] = "auto",
) -> None:
    """Measure a model on a data set: mIoU, oIoU, Pr@t and presence, in metrics.json and per_sample.csv."""
    from refersat.evaluation.protocol import choose_protocols
    from refersat.data.sources import read_samples
    from refersat.question import check_threshold

    protocols = choose_protocols(protocol)
    check_threshold(threshold)
    data_set = read_samples(data, split=split)
    samples = data_set.samples[:limit]

    import refersat
    from refersat.evaluation.provenance import provenance_of
    from refersat.evaluation.report import presence_line, results_table, write_report
    from refersat.evaluation.run import evaluate_samples
    from refersat.output import output_folder

    with output_folder(out):
        segmenter = refersat.load(model, device=device, dtype=dtype)
        with _progress(f"{segmenter.name} on {data_set.name}", len(samples)) as on_sample:
            evaluation = evaluate_samples(
                segmenter,
                samples,
                protocols=protocols,
                threshold=threshold,
                batch_size=batch_size,
                on_sample=on_sample,
            )
        provenance = provenance_of(
            segmenter,
            evaluation,
            model=model,
            protocols=protocols,
            data=data,
            data_set=data_set,
            threshold=threshold,
            batch_size=batch_size,
            limit=limit,
        )
        written = write_report(out, evaluation, provenance)

    from rich.console import Console

    console = Console()
    console.print(results_table(evaluation))
    if line := presence_line(evaluation):
        console.print(line)
    console.print(*written, highlight=False, soft_wrap=True, markup=False)


@contextmanager
def _progress(title: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr with the time that is left; call what it gives after each sample."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total)
        yield lambda: progress.advance(task)
