"""`refersat scene`: what phrases name in a georeferenced scene of any size."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refersat.cli.options import (
    Bands,
    BatchSize,
    Device,
    Dtype,
    Model,
    Phrases,
    Threshold,
    Verbose,
    band_numbers,
    say_what_runs,
)
from refersat.errors import UserError

if TYPE_CHECKING:
    from refersat.scene.outputs import Found
    from refersat.scene.scene import Scene, Watch
    from refersat.scene.strategy import Advance


def scene(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SCENE",
            help="A raster that rasterio opens (GeoTIFF, JPEG 2000, VRT, ...), the JSON of a STAC item, or an address "
            "that starts with http://, https:// or s3://.",
            show_default=False,
        ),
    ] = None,
    phrases: Phrases = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the files go; made if missing.", show_default=False)
    ] = None,
    model: Model = "built-in",
    strategy: Annotated[
        str,
        typer.Option(
            metavar="auto|whole|tile|coarse-to-fine",
            help="How to look. whole: all at once, reduced to 1024 pixels. tile: in overlapping tiles, for phrases "
            'that mean the same everywhere. coarse-to-fine: for "the largest", "on the far left", "the ship below the '
            'bridge": finds the objects of the whole scene, decides which is meant, and looks at that again. auto: '
            "chooses by phrases and size, and says so.",
        ),
    ] = "auto",
    tile: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            help="Side of a tile at the resolution that the model works in; 800 by default, the size of the images "
            "that models learn from.",
            show_default=False,
        ),
    ] = None,
    overlap: Annotated[
        float, typer.Option(metavar="F", help="Share of a tile that its neighbour sees, too, 0 to 0.9.")
    ] = 0.25,
    gsd: Annotated[
        float | None,
        typer.Option(
            metavar="METRES",
            help="Metres per pixel at which the model works; the scene's own by default. Masks come at the scene's.",
            show_default=False,
        ),
    ] = None,
    bands: Bands = None,
    stretch: Annotated[
        str | None,
        typer.Option(
            metavar="percentile|none|LO,HI",
            help="What becomes black and white, once for all of the scene: its 2nd and 98th percentile, 0 and 255, or "
            "these values. By default 8-bit values stay and others are stretched by percentile.",
            show_default=False,
        ),
    ] = None,
    nodata: Annotated[
        float | None,
        typer.Option(
            metavar="VALUE",
            help="A pixel with this value in all bands that are read holds no data: for borders that the file does not "
            "mark, mostly 0. By default what the file says.",
            show_default=False,
        ),
    ] = None,
    aoi: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Stay inside of its polygons (GeoJSON, GeoPackage, Shapefile, ...), in any CRS.",
            show_default=False,
        ),
    ] = None,
    asset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which asset of a STAC item.", show_default=False)
    ] = None,
    threshold: Threshold = None,
    min_area: Annotated[float, typer.Option(metavar="M2", help="Leave out objects below so many square metres.")] = 0.0,
    instances: Annotated[
        bool, typer.Option("--instances", help="Also write STEM-K.instances.tif: each pixel's object, from 1.")
    ] = False,
    probability: Annotated[
        bool, typer.Option("--probability", help="Also write STEM-K.probability.tif: 0 to 255.")
    ] = False,
    vector_format: Annotated[
        str, typer.Option("--format", metavar="gpkg|geojson|fgb|parquet", help="Of the polygons.")
    ] = "gpkg",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was stopped; begin where there is none.")
    ] = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    batch_size: BatchSize = None,
    verbose: Verbose = False,
) -> None:
    """Find what each PHRASE names in a georeferenced SCENE of any size; write rasters and polygons that overlay it.

    Per phrase, numbered from 1: STEM-1.tif, a Cloud Optimized GeoTIFF of the scene's size, CRS and transform, 255 on
    the target, else 0; what has no data, or lies outside of --aoi, is masked. For all phrases: STEM.gpkg, one polygon
    per object, with phrase, model, score, area_m2, instance, source and version. Objects are whole, however many tiles
    they reach over. Every file tells in its metadata how it was made.

    Memory depends on the scene's width, not on its height. A run that was stopped goes on with --resume; until then
    STEM-1.partial.vrt shows in any GIS what is finished.

    Example: refersat scene harbour.tif -t "all ships" -t "the storage tanks" --out found
    """
    if source is None:
        raise UserError("no scene given: refersat scene SCENE -t PHRASE --out FOLDER")
    if not phrases:
        raise UserError('no phrase given: add for example -t "all ships"')
    if out is None:
        raise UserError("no place for the answers given: add --out FOLDER")
    from refersat.question import check_phrase
    from refersat.radiometry import parse_stretch
    from refersat.scene.options import DEFAULT_TILE, SceneOptions

    options = SceneOptions(
        strategy=strategy,
        tile=DEFAULT_TILE if tile is None else tile,
        overlap=overlap,
        gsd=gsd,
        threshold=threshold,
        batch_size=batch_size,
        min_area=min_area,
        instances=instances,
        probability=probability,
        format=vector_format,
    )
    plain = [check_phrase(phrase) for phrase in phrases]
    ranges = None if stretch is None else parse_stretch(stretch)
    numbers = band_numbers(bands)

    import refersat
    from refersat.cli.collection import uncollected
    from refersat.scene.scene import Scene

    with Scene(source, bands=numbers, stretch=ranges, nodata=nodata, aoi=aoi, asset=asset) as opened:
        with uncollected():
            segmenter = refersat.load(model, device=device, dtype=dtype)
        if verbose:
            say_what_runs(segmenter)
        try:
            found = opened.segment(
                plain,
                out,
                segmenter=segmenter,
                options=options,
                resume=resume,
                watch=_watch(opened),
                say=lambda line: typer.echo(line, err=True),
            )
        except KeyboardInterrupt:
            typer.echo("what is finished is kept: add --resume to go on", err=True)
            raise
        has_metres = opened.reader.ground.area_unit == "m2"
    _print_table(found, has_metres=has_metres)


def _watch(opened: Scene) -> Watch:
    """Progress bars with the speed in pixels and, where it is known, on the ground."""
    gsd = opened.reader.gsd

    @contextmanager
    def watch(title: str, steps: int) -> Iterator[Advance]:
        from refersat.cli.progress import bar

        began, pixels = time.monotonic(), 0.0
        with bar("{task.description}", "{task.fields[speed]}") as shown:
            task = shown.add_task(title, total=steps, speed="")

            def advance(settled: float) -> None:
                nonlocal pixels
                pixels += settled
                shown.update(task, advance=1, speed=_speed(pixels, time.monotonic() - began, gsd))

            yield advance

    return watch


def _speed(pixels: float, seconds: float, gsd: tuple[float, float] | None) -> str:
    if not pixels or seconds <= 0:
        return ""
    rate = pixels / seconds
    shown = f"{rate / 1e6:.2f} Mpx/s" if rate >= 1e5 else f"{rate / 1e3:.1f} kpx/s"
    return shown if gsd is None else f"{shown}, {rate * gsd[0] * gsd[1] * 3600 / 1e6:.3g} km²/h"


def _print_table(found: Sequence[Found], *, has_metres: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("phrase", box=None, pad_edge=False, header_style="bold")
    for heading in ("objects", "area", "score"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found:
        area = f"{one.area_m2:,.0f} m²" if has_metres else f"{one.pixels:,} px"
        objects = Text(f"{one.objects:,}", "green" if one.objects else "yellow")
        table.add_row(Text(one.phrase), objects, area, f"{one.score:.2f}")
    console = Console()
    console.print(table)
    rasters = [path for one in found for path in (one.mask, one.probability, one.instances) if path is not None]
    names = ", ".join(path.name for path in (*rasters, found[0].vectors))
    console.print(Text(f"Wrote {names} to {found[0].mask.parent}"), soft_wrap=True)
