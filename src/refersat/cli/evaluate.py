"""`refersat evaluate`: measures a model on data sets, or compares two finished measurements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refersat.cli.options import BatchSize, Device, Dtype, Model, Split, Threshold
from refersat.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from refersat.evaluation.request import Request

_FILE_WIDTH = 120  # where no terminal says how wide it is


def evaluate(
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND:PATH", help="The data set, for example triplets:FOLDER. Repeatable: all together, and each."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where metrics.json, per_sample.csv and report.html go."),
    ] = None,
    model: Model = "built-in",
    split: Split = "all",
    protocol: Annotated[
        str | None,
        typer.Option(metavar="native|480|1024", help="Grid of the comparison; all three when left out."),
    ] = None,
    threshold: Threshold = None,
    batch_size: BatchSize = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first N samples of each.")] = None,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="Processes to work in, each with a model of its own.")
    ] = 1,
    save_masks: Annotated[
        bool,
        typer.Option("--save-masks", help="Keep every answer as FOLDER/masks/<line of per_sample.csv, from 0>.png."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew where --out holds another evaluation.")
    ] = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A B", help="Measure nothing: put two finished evaluations side by side."),
    ] = None,
) -> None:
    """Measure a model on a data set: mIoU, oIoU, Pr@t and presence, with intervals and a report to look at.

    A run that was stopped goes on where it was when the same command is given again. Several devices, or processes of a
    cluster: torchrun --nproc-per-node 2 -m refersat evaluate ...

    --compare A B tests whether two evaluations of the same samples really differ, and lists what flipped.
    """
    if compare is not None:
        if data is not None:
            raise UserError("--compare reads two finished evaluations: leave --data out")
        _compare(*compare, out)
        return
    if not data or out is None:
        missing = "--data KIND:PATH" if not data else "--out FOLDER"
        raise UserError(f"give {missing} (see `refersat evaluate --help`)")

    from refersat.evaluation.request import Request

    request = Request(
        model=model,
        data=tuple(data),
        split=split,
        protocol=protocol,
        threshold=threshold,
        batch_size=batch_size,
        limit=limit,
        device=device,
        dtype=dtype,
        save_masks=save_masks,
    )
    _measure(request, out, workers=workers, overwrite=overwrite)


def _measure(request: Request, out: Path, *, workers: int, overwrite: bool) -> None:
    from refersat.cli.progress import progress
    from refersat.evaluation.folder import evaluate_into
    from refersat.evaluation.report import presence_line, results_table, time_line

    try:
        finished = evaluate_into(out, request, bar=progress, workers=workers, overwrite=overwrite)
    except KeyboardInterrupt:
        typer.echo("what is done is kept: the same command goes on from here", err=True)
        raise
    if finished is None:  # another process tells
        return
    console = _console()
    console.print(results_table(finished.metrics))
    if line := presence_line(finished.metrics):
        console.print(line)
    console.print(time_line(finished.metrics["time"]), highlight=False)
    console.print(*finished.files, highlight=False, soft_wrap=True, markup=False)


def _compare(a: Path, b: Path, out: Path | None) -> None:
    from refersat.evaluation.compare import compare_runs
    from refersat.evaluation.comparison_report import comparison_table, flips_table, summary_line, write_comparison

    comparison = compare_runs(a, b)
    files = () if out is None else write_comparison(out, comparison)
    console = _console()
    console.print(comparison_table(comparison))
    if comparison.flips:
        console.print(flips_table(comparison))
    console.print(summary_line(comparison), highlight=False, markup=False)
    if files:
        console.print(*files, highlight=False, soft_wrap=True, markup=False)


def _console() -> Console:
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_FILE_WIDTH)
