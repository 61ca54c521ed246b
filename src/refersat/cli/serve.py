"""`refersat serve`: a page in the browser and an API, with one model."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refersat.cli.options import Device, Dtype, Model
from refersat.errors import UserError

if TYPE_CHECKING:
    from refersat.service.settings import Settings

TOKEN_VARIABLE = "REFERSAT_TOKEN"


def serve(
    scenes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FOLDER|FILE ...]",
            help="Scenes to offer: rasters, folders with rasters below them, or addresses (https://, s3://). Nothing "
            "else on this machine can be asked about.",
            show_default=False,
        ),
    ] = None,
    model: Model = "built-in",
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen. Anything but this machine itself needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    token: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TOKEN",
            help="Only who sends it comes in. Repeat it for several users: each has a share of the queue, and jobs of "
            f"its own. Better set {TOKEN_VARIABLE} (several with spaces between): others see a command's words.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where jobs, results and uploads are kept; they are there again after a restart. By default "
            "$REFERSAT_HOME/service, or refersat/service in the user's cache folder.",
            show_default=False,
        ),
    ] = None,
    allow_remote: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PREFIX",
            help="Let users name images in the web whose address begins so, for example https://tiles.example.org/. "
            "Repeat it for more. Without it, nothing is fetched for users.",
            show_default=False,
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Let the pages of another server call this one, for example https://maps.example.org. Repeat it for "
            "more.",
            show_default=False,
        ),
    ] = None,
    upload_mb: Annotated[int, typer.Option(metavar="MB", min=1, help="Bytes of an uploaded image.")] = 200,
    pixels: Annotated[
        float, typer.Option(metavar="MPX", min=0.01, help="Million pixels of an uploaded image.")
    ] = 100.0,
    queue: Annotated[
        int, typer.Option(metavar="N", min=1, help="Questions that may wait for the model; more are told to come back.")
    ] = 128,
    share: Annotated[float, typer.Option(metavar="F", help="What one user may hold of the queue, up to 1.")] = 0.5,
    timeout: Annotated[float, typer.Option(metavar="S", min=0.1, help="Seconds that a client waits at most.")] = 120.0,
    keep_days: Annotated[
        float, typer.Option(metavar="DAYS", help="Uploads, results and ended jobs are deleted after so many days.")
    ] = 7.0,
    disk_gb: Annotated[
        float, typer.Option(metavar="GB", help="Uploads and results together; over it, nothing new is taken.")
    ] = 20.0,
    root_path: Annotated[
        str,
        typer.Option(metavar="/PATH", help="The prefix under which a proxy shows the server.", show_default=False),
    ] = "",
    page: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Another build of the web page.", hidden=True, show_default=False),
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Log every request.")] = False,
) -> None:
    """Offer a page in the browser and an API: type a phrase, see the mask, take the polygons away.

    Nothing is fetched from anywhere, and only programs on this machine come in, unless told otherwise. Needs
    pip install 'refersat[serve]'.

    Example: refersat serve scenes/ harbour.tif
    """
    _require_libraries()
    from refersat.service.access import is_loopback
    from refersat.service.settings import MEBIBYTE, Limits, Settings

    tokens = tuple(dict.fromkeys([*(token or ()), *os.environ.get(TOKEN_VARIABLE, "").split()]))
    if not is_loopback(host) and not tokens:
        raise UserError(f"--host {host} lets others in: give a --token, or set {TOKEN_VARIABLE}")
    settings = Settings(
        scenes=tuple(scenes or ()),
        data=data or _default_data(),
        tokens=tokens,
        origins=tuple(cors or ()),
        remote=tuple(allow_remote or ()),
        page=page,
        root_path=root_path,
        limits=Limits(
            upload_bytes=upload_mb * MEBIBYTE,
            pixels=int(pixels * 1e6),
            queue=queue,
            share=share,
            timeout_s=timeout,
            keep_days=keep_days,
            disk_bytes=int(disk_gb * 1e9),
        ),
    )
    with _listening(host, port) as listener:
        _run(settings, listener, model=model, device=device, dtype=dtype, verbose=verbose)


def _run(settings: Settings, listener: socket.socket, *, model: str, device: str, dtype: str, verbose: bool) -> None:
    import logging
    import signal
    import warnings
    from contextlib import suppress

    import uvicorn
    from rasterio.errors import NotGeoreferencedWarning

    import refersat
    from refersat.service.app import create_app

    segmenter = refersat.load(model, device=device, dtype=dtype)
    app = create_app(settings, segmenter)
    warnings.simplefilter("ignore", NotGeoreferencedWarning)  # plain images are as welcome
    os.environ.setdefault("GDAL_HTTP_TIMEOUT", "60")  # seconds; without, an address that is silent holds a job for ever
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    typer.echo(f"Listening on http://{shown}:{port}{settings.root_path} (Ctrl-C stops)")
    config = uvicorn.Config(
        app,
        log_level="info" if verbose else "warning",
        server_header=False,
        proxy_headers=False,  # the queue's shares go by the address that connects, not by one that a header claims
        timeout_graceful_shutdown=10,
    )
    # Once all has come down in order, uvicorn raises the signal again: to be told to stop is no failure.
    signal.signal(signal.SIGTERM, lambda *_: None)
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def _require_libraries() -> None:
    from importlib.util import find_spec

    needed = ("fastapi", "uvicorn", "python_multipart", "rio_tiler", "prometheus_client")
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise UserError(f"serving needs {', '.join(missing)}: pip install 'refersat[serve]'")


def _default_data() -> Path:
    from refersat.models.store import store_folder

    return store_folder().parent / "service"


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens; before the model is loaded, so that a taken port is told at once."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise UserError(f"cannot listen on {host}, port {port}: {error.strerror or error}; try --port 0") from error
    return listener
