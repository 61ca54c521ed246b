"""What an operator may choose, and the bounds that keep one user from taking all."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from refersat.errors import UserError
from refersat.imagery import MAX_PIXELS

MEBIBYTE = 2**20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds.

    Attributes:
        upload_bytes: of one uploaded image.
        pixels: of one uploaded image, seen from its header before anything is decoded.
        segment_pixels: of an image that is answered while the client waits; larger ones are jobs.
        phrases: of one request.
        queue: requests that wait for the model or are being answered; more get 503.
        jobs: jobs that wait; more get 503.
        share: of `queue` and `jobs`, what one tenant may hold.
        timeout_s: seconds that a client waits at most.
        body_s: seconds without a byte of a request's body after which it is given up.
        job_hours: a job that runs longer fails.
        keep_days: uploads, results and ended jobs are deleted after so many days.
        disk_bytes: uploads and results together; over it, nothing new is taken.
    """

    upload_bytes: int = 200 * MEBIBYTE
    pixels: int = MAX_PIXELS
    segment_pixels: int = 25_000_000
    phrases: int = 16
    queue: int = 128
    jobs: int = 50
    share: float = 0.5
    timeout_s: float = 120.0
    body_s: float = 30.0
    job_hours: float = 24.0
    keep_days: float = 7.0
    disk_bytes: int = 20 * 1024 * MEBIBYTE

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise UserError(f"{name} is above 0, not {value}")
        if self.share > 1:
            raise UserError(f"the share of one tenant is at most 1, not {self.share}")

    def of_one(self, bound: int) -> int:
        """What one tenant may hold of a bound."""
        return max(1, int(bound * self.share))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a server runs.

    Attributes:
        scenes: folders, files and addresses that users may ask about.
        data: a folder for jobs, results and uploads; they are there again after a restart.
        tokens: who knows one of them may come in; everybody may when there is none.
        origins: web pages of other servers that may call the API.
        remote: beginnings of addresses that users may have fetched; none by default.
        page: the folder with the built web page; the package's own when None.
        root_path: the prefix under which a proxy shows the server.
        limits: bounds.
    """

    data: Path
    scenes: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    remote: tuple[str, ...] = ()
    page: Path | None = None
    root_path: str = ""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if any(
            len(token) < 8 or not token.isascii() or not token.isprintable() or " " in token for token in self.tokens
        ):
            raise UserError("a token has at least 8 characters, all printable ASCII, without spaces")
        if self.root_path and (not self.root_path.startswith("/") or self.root_path.endswith("/")):
            raise UserError(f"--root-path begins with a slash and ends with none, unlike {self.root_path!r}")
        for origin in self.origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise UserError(f"an origin looks like https://maps.example.org, not {origin!r}")
        for prefix in self.remote:
            host = prefix.partition("://")[2]
            if not prefix.startswith(("http://", "https://", "s3://")) or (host and "/" not in host):
                raise UserError(f"--allow-remote takes beginnings like https://tiles.example.org/, not {prefix!r}")
