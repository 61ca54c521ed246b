"""`refersat batch`: a catalogue of images and scenes, here or on a Ray cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refersat.cli.options import Bands, BatchSize, Device, Dtype, Model, Phrases, Threshold, band_numbers
from refersat.errors import UserError

if TYPE_CHECKING:
    from refersat.batch.job import Job
    from refersat.batch.rows import Catalogue
    from refersat.batch.run import Estimate
    from refersat.batch.tables import Summary
    from refersat.batch.worker import Outcome

SOME_FAILED = 3
"""Exit code of a batch that was finished and has rows that failed."""

_LOG_EVERY = 30.0  # seconds between two lines where stderr is no terminal
_SHOWN_ERRORS = 5


def batch(
    catalogue: Annotated[
        str | None,
        typer.Argument(
            metavar="CATALOGUE",
            help="A folder; a pattern in quotes ('shots/**/*.tif'); a table (.csv, .tsv, .jsonl, .parquet, "
            ".geoparquet) with the columns image and phrase; the .json of a STAC item, collection or catalogue; or one "
            "image. All of these, and what they name, may be addresses (s3://..., https://..., /vsi...).",
            show_default=False,
        ),
    ] = None,
    phrases: Phrases = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the files go; made if missing.", show_default=False)
    ] = None,
    model: Model = "built-in",
    engine: Annotated[
        str,
        typer.Option(
            metavar="local|ray",
            help="local: this process. ray: the processes of a Ray cluster, or of this machine (pip install "
            "'refersat[ray]').",
        ),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="auto|HOST:PORT|ray://HOST:PORT",
            help="With --engine ray: a cluster that runs; auto finds the one that `ray start` started here. Without, "
            "one is started on this machine and stopped at the end.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="With --engine ray: processes, each with the model; as many as there are GPUs, or else CPUs.",
            show_default=False,
        ),
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option(
            "--gpus-per-worker",
            metavar="F",
            min=0,
            help="With --engine ray: 1 where the cluster has GPUs, else 0. With 0.25 four workers share a GPU.",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="CPU threads of each worker; with --engine ray 1, else all.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a batch that was stopped or killed; begin where there is none.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Go on, and begin the rows that failed again.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Delete the batch that is in the folder and begin anew.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only say what would run, and how long it may take: three images are tried. Keeps nothing.",
        ),
    ] = False,
    kind: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="auto|image|scene",
            help="image: as `refersat predict` answers. scene: in tiles, as `refersat scene` does. auto: a scene where "
            "the longer side has more than 1600 pixels.",
        ),
    ] = "auto",
    image_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of the table; image, path, file, ... by default.", show_default=False),
    ] = None,
    phrase_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Of the table; phrase, text, ... by default; none for -t.", show_default=False
        ),
    ] = None,
    asset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which asset of STAC items.", show_default=False)
    ] = None,
    threshold: Threshold = None,
    bands: Bands = None,
    stretch: Annotated[
        str | None,
        typer.Option(
            metavar="percentile|none|LO,HI", help="Of scenes; see `refersat scene --help`.", show_default=False
        ),
    ] = None,
    strategy: Annotated[
        str, typer.Option(metavar="auto|whole|tile|coarse-to-fine", help="Of scenes; see `refersat scene --help`.")
    ] = "auto",
    tile: Annotated[
        int | None, typer.Option(metavar="PX", help="Of scenes: side of a tile; 800 by default.", show_default=False)
    ] = None,
    gsd: Annotated[
        float | None,
        typer.Option(
            metavar="METRES", help="Of scenes: metres per pixel at which the model works.", show_default=False
        ),
    ] = None,
    min_area: Annotated[
        float, typer.Option(metavar="M2", help="Of scenes: leave out objects below so many square metres.")
    ] = 0.0,
    device: Device = "auto",
    dtype: Dtype = "auto",
    batch_size: BatchSize = None,
) -> None:
    """Answer every row of a CATALOGUE: thousands of images or scenes, one phrase for all or one for each.

    In FOLDER: results.csv, one line for each row (status, present, score, area, seconds, error, where its files are);
    polygons.parquet, all polygons as GeoParquet (needs pyarrow); rows/, the files of each image, as `refersat predict`
    or `refersat scene` write them.

    A row that cannot be answered is a line with its error and stops nothing. Whatever is killed, the command and
    --resume go on: no row is lost, none is answered twice. Two runs never write to one FOLDER.

    Exit codes: 0 all rows answered, 3 finished and some rows failed, 2 a mistake that one line on stderr explains, 1 a
    failure of refersat itself, 130 interrupted.

    Example: refersat batch "shots/*.tif" -t "all ships" --out found
    """
    if catalogue is None:
        raise UserError("no catalogue given: refersat batch CATALOGUE -t PHRASE --out FOLDER")
    if out is None:
        raise UserError("no place for the answers given: add --out FOLDER")
    if overwrite and (resume or retry_failed):
        raise UserError("--overwrite begins anew, and --resume and --retry-failed go on: give one")
    from refersat.batch.catalogue import read_catalogue
    from refersat.batch.job import Job, weights_of
    from refersat.batch.on_ray import Cluster
    from refersat.batch.run import Mode, make_engine, run_batch
    from refersat.batch.tabular import Columns
    from refersat.radiometry import parse_stretch
    from refersat.scene.options import DEFAULT_TILE, SceneOptions
    from refersat.segmenter import check_load

    rows = read_catalogue(catalogue, phrases or (), Columns(image_column, phrase_column, asset))
    job = Job(
        out,
        model=model,
        device=device,
        dtype=dtype,
        weights=weights_of(model),
        kind=kind,
        threshold=threshold,
        batch_size=batch_size,
        bands=band_numbers(bands),
        stretch=None if stretch is None else parse_stretch(stretch),
        scene=SceneOptions(
            strategy=strategy,
            tile=DEFAULT_TILE if tile is None else tile,
            gsd=gsd,
            threshold=threshold,
            batch_size=batch_size,
            min_area=min_area,
            format="geojson",  # a GeoPackage holds the time at which it was written
        ),
        threads=(threads or 1) if engine == "ray" else threads,
    )
    run_with = make_engine(engine, Cluster(address, workers, gpus), _say)
    if dry_run:
        _estimate(rows, job, engine, workers)
        return
    # Workers of a cluster have devices of their own.
    check_load(model, device="cpu" if engine == "ray" else device, dtype=dtype)
    mode = Mode(resume=resume or retry_failed, overwrite=overwrite, retry_failed=retry_failed)
    began = time.monotonic()
    try:
        summary = run_batch(rows, job, run_with, mode=mode, watch=_watch)
    except KeyboardInterrupt:
        _say("what is finished is kept: add --resume to go on")
        raise
    _print_summary(summary, out, time.monotonic() - began)
    if summary.pending:
        raise UserError(f"{summary.pending:,} rows have no answer: the workers were lost; --resume goes on")
    if summary.failed:
        raise typer.Exit(SOME_FAILED)


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _watch(outcomes: Iterator[Outcome], rows: int, before: int) -> None:
    """Show how far it is: a bar on a terminal, a line now and then elsewhere."""
    from rich.console import Console

    from refersat.cli.progress import bar

    if before:
        _say(f"{before:,} of {rows:,} rows are done or at fault already")
    began = told = time.monotonic()
    done = failed = first = 0
    is_terminal = Console(stderr=True).is_terminal
    with bar("rows", "{task.fields[more]}", disable=not is_terminal) as shown:
        task = shown.add_task("", total=rows, completed=before, more="loading the model")
        for outcome in outcomes:
            done += outcome.phrases
            failed += outcome.phrases if outcome.error else 0
            now = time.monotonic()
            if not first:  # loading the model says nothing about the rows
                began, first = now, done
            rate = (done - first) / max(now - began, 1e-9) or done / max(outcome.seconds, 1e-9)
            more = f"{failed:,} failed, {rate:.3g} rows/s"
            shown.update(task, completed=before + done, more=more)
            if not is_terminal and now - told >= _LOG_EVERY:
                told = now
                left = (rows - before - done) / rate
                _say(f"rows {before + done:,}/{rows:,}, {more}, {duration(left)} left")


def duration(seconds: float) -> str:
    """A time as people say it: 48 s, 12 min, 7.5 h, 3.2 days."""
    for unit, length, until in (("s", 1.0, 90.0), ("min", 60.0, 90 * 60.0), ("h", 3600.0, 48 * 3600.0)):
        if seconds < until:
            value = seconds / length
            return f"{value:.0f} {unit}" if value >= 10 or unit == "s" else f"{value:.1f} {unit}"
    return f"{seconds / 86_400:.1f} days"


def _estimate(rows: Catalogue, job: Job, engine: str, workers: int | None) -> None:
    from tempfile import TemporaryDirectory

    from refersat.batch.run import estimate

    with TemporaryDirectory(prefix="refersat-") as scratch:
        expected = estimate(rows, job, Path(scratch))
    _print_estimate(rows, expected, job, engine, workers)


def _print_estimate(rows: Catalogue, expected: Estimate, job: Job, engine: str, workers: int | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    phrases = {row.phrase for row in rows.rows if row.fault is None}
    shown = next(iter(phrases)) if len(phrases) == 1 else f"{len(phrases):,} different ones"
    lines = [
        ("catalogue", f"{rows.address} ({rows.kind})"),
        ("rows", f"{len(rows.rows):,}, of which {len(rows.faults):,} cannot be asked"),
        ("phrases", shown),
        ("to do", f"{expected.rows:,} rows about {expected.units:,} images"),
        ("model", job.model),
        ("engine", engine + (f", {workers} workers" if workers else "")),
        ("output", str(job.out)),
        ("tried", f"{len(expected.measured) + len(expected.errors)} images here, {len(expected.errors)} failed"),
    ]
    seconds = expected.seconds(workers or 1)
    if seconds is not None:
        each = sum(expected.measured) / expected.phrases
        lines.append(("speed", f"{each:.2f} s per row and worker, {expected.loading:.1f} s to load the model"))
        lines.append(("may take", duration(seconds) + (f" with {workers} workers as fast as this" if workers else "")))
    for name, text in lines:
        table.add_row(Text(name, "bold"), Text(text))
    console = Console()
    console.print(table)
    for row in rows.faults[:_SHOWN_ERRORS]:
        console.print(Text(f"row {row.number}: {row.fault}", "yellow"), soft_wrap=True)
    for error in expected.errors:
        console.print(Text(error, "yellow"), soft_wrap=True)


def _print_summary(summary: Summary, out: Path, seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("rows", box=None, pad_edge=False, header_style="bold")
    for heading in ("found", "not there", "failed", "polygons", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    polygons = "-" if summary.polygons is None else f"{summary.polygons:,}"
    failed = Text(f"{summary.failed:,}", "red" if summary.failed else "")
    table.add_row(f"{summary.rows:,}", f"{summary.found:,}", f"{summary.absent:,}", failed, polygons, duration(seconds))
    console = Console()
    console.print(table)
    for error, count in summary.errors[:_SHOWN_ERRORS]:
        console.print(Text(f"{count:,} x {error}", "red"), soft_wrap=True)
    files = "results.csv" if summary.polygons is None else "results.csv and polygons.parquet"
    console.print(Text(f"Wrote {files} to {out}; the files of each image are in {out / 'rows'}"), soft_wrap=True)
    if summary.polygons is None:
        hint = "polygons.parquet was left out: pip install 'refersat[parquet]', and --resume writes it"
        console.print(Text(hint, "yellow"), soft_wrap=True)
