"""The images that may be asked about: those that the server was started with, and what users brought."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from refersat.scene.source import find_source
from refersat.service.problems import Problem
from refersat.service.settings import Settings
from refersat.service.store import Store, Upload, new_id, now
from refersat.service.uploads import plain_name, plain_stem, read_header

ENDINGS = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".j2k", ".webp"})
"""Of the files that are taken from a folder; others are taken when named."""

IMAGE_DRIVERS = ("GTiff", "PNG", "JPEG", "JP2OpenJPEG", "WEBP")
"""GDAL's for what users may bring. Others read documents (VRT, GTI, STAC, WMS ...) that name files and addresses."""

_REMOTE = ("http://", "https://", "s3://")


@dataclass(frozen=True)
class Entry:
    """An image that may be asked about.

    Attributes:
        id: its name in addresses of the API.
        name: what people call it.
        address: what GDAL opens; never shown to users.
        created: time in UTC.
        uploaded: whether a user brought it.
        remote: whether it lies in the web.
    """

    id: str
    name: str
    address: str
    created: str
    uploaded: bool = False
    remote: bool = False

    @property
    def stem(self) -> str:
        """What files made from it are called after."""
        return plain_stem(self.name)

    @property
    def drivers(self) -> tuple[str, ...] | None:
        """GDAL's, one of which must read it; any for what the operator chose."""
        return IMAGE_DRIVERS if self.uploaded else None

    @property
    def version(self) -> tuple[str, int, int]:
        """Another one when the file changes."""
        if self.remote:
            return self.address, 0, 0
        about = Path(self.address).stat()
        return self.address, about.st_mtime_ns, about.st_size


class Catalog:
    """All that may be asked about, and nothing else: names are looked up here, never made into paths.

    Args:
        settings: with the folders, files and addresses of the operator's.
        store: knows the uploads.

    Raises:
        UserError: one of them does not exist.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._folder = settings.data / "uploads"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._known: dict[str, Entry] = {}  # the operator's, by id, when last looked at
        self._roots: list[Path] = []
        self._files: list[tuple[str, str, bool]] = []  # name, address, whether it is remote
        for scene in settings.scenes:
            if not scene.startswith(_REMOTE) and Path(scene).is_dir():
                self._roots.append(Path(scene).resolve())
            else:
                source = find_source(scene)
                address = source.address if source.remote else os.path.realpath(source.address)
                self._files.append((Path(address).name or source.stem, address, source.remote))

    def own(self) -> list[Entry]:
        """The operator's, by name. Folders are looked through each time: files come and go."""
        entries: dict[str, Entry] = {}
        for name, address, remote in self._files:
            entry = Entry(_free(_slug(name), entries), name, address, _changed(address, remote=remote), remote=remote)
            entries[entry.id] = entry
        for root in self._roots:
            for path in _images(root):
                name = path.relative_to(root).as_posix()
                entry = Entry(_free(_slug(name), entries), name, str(path), _changed(str(path), remote=False))
                entries[entry.id] = entry
        self._known = entries
        return sorted(entries.values(), key=lambda entry: entry.name)

    def brought(self, tenant: str) -> list[Entry]:
        """A tenant's uploads, newest first."""
        return [self._entry(upload) for upload in self._store.uploads(tenant)]

    def find(self, identifier: str, tenant: str) -> Entry:
        """One of them.

        Raises:
            Problem: 404, there is none, or it is another tenant's.
        """
        upload = self._store.upload(identifier)
        if upload is not None and upload.tenant == tenant:
            return self._entry(upload)
        if upload is None:
            known = self._known.get(identifier)
            if known is None or not _in_place(known):  # a map asks for many tiles: no look through folders for each
                known = {entry.id: entry for entry in self.own()}.get(identifier)
            if known is not None:
                return known
        raise Problem(404, f"there is no scene {identifier!r}: GET /v1/scenes lists those that there are")

    def take(self, file: Path, name: str, tenant: str) -> Entry:
        """Keep a file that a user sent; it is moved.

        Raises:
            Problem: it is no image, or too large; see `read_header`.
        """
        header = read_header(file, self._settings.limits)
        identifier = new_id("u")
        folder = self._folder / identifier
        folder.mkdir()
        target = folder / f"{plain_stem(name)}{header.ending}"
        shutil.move(file, target)
        upload = Upload(identifier, tenant, plain_name(name), f"{identifier}/{target.name}", now())
        self._store.add_upload(upload)
        return self._entry(upload)

    def take_address(self, address: str, tenant: str) -> Entry:
        """Let a user ask about an image in the web.

        Raises:
            Problem: 403, the operator does not allow it.
        """
        allowed = self._settings.remote
        if not allowed:
            raise Problem(403, "this server fetches nothing from the web; its operator can allow it: --allow-remote")
        if not any(address.startswith(prefix) for prefix in allowed) or "\\" in address or "@" in address:
            raise Problem(403, f"this server fetches only from {', '.join(allowed)}")
        name = plain_name(address.partition("?")[0])
        upload = Upload(new_id("u"), tenant, name, address, now())
        self._store.add_upload(upload)
        return self._entry(upload)

    def drop(self, identifier: str, tenant: str) -> None:
        """Delete an upload.

        Raises:
            Problem: 404, there is none; 403, it is the operator's.
        """
        entry = self.find(identifier, tenant)
        if not entry.uploaded:
            raise Problem(403, f"{entry.name} belongs to the server; only uploads can be deleted")
        self._remove(identifier)

    def drop_old(self, keep: Sequence[str]) -> None:
        """Delete uploads that are older than `Limits.keep_days`, but those in `keep`."""
        for upload in self._store.old_uploads(self._settings.limits.keep_days):
            if upload.id not in keep:
                self._remove(upload.id)

    def _remove(self, identifier: str) -> None:
        self._store.drop_upload(identifier)
        shutil.rmtree(self._folder / identifier, ignore_errors=True)

    def _entry(self, upload: Upload) -> Entry:
        remote = upload.address.startswith(_REMOTE)
        address = upload.address if remote else str((self._folder / upload.address).resolve())
        return Entry(upload.id, upload.name, address, upload.created, uploaded=True, remote=remote)


def require_file(entry: Entry) -> None:
    """Refuse what is no longer there.

    Raises:
        Problem: 404.
    """
    if not entry.remote and not Path(entry.address).is_file():
        raise Problem(404, f"{entry.name} is no longer on the server")


def _images(root: Path) -> Iterator[Path]:
    """The images below a folder; links that lead out of it are not followed."""
    for folder, names, files in os.walk(root, followlinks=False):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for file in sorted(files):
            path = Path(folder, file)
            if file.startswith(".") or path.suffix.lower() not in ENDINGS:
                continue
            real = Path(os.path.realpath(path))
            if real.is_relative_to(root) and real.is_file():
                yield real


def _in_place(entry: Entry) -> bool:
    """Whether a file is still itself, and no link that leads elsewhere."""
    return entry.remote or (os.path.realpath(entry.address) == entry.address and Path(entry.address).is_file())


def _slug(name: str) -> str:
    """Of the characters that addresses bear: harbour/north.tif -> harbour-north."""
    stem = name.rpartition(".")[0] or name
    return re.sub(r"[^A-Za-z0-9_]+", "-", stem).strip("-").lower() or "scene"


def _free(slug: str, taken: dict[str, Entry]) -> str:
    number, free = 1, slug
    while free in taken:
        number += 1
        free = f"{slug}-{number}"
    return free


def _changed(address: str, *, remote: bool) -> str:
    with suppress(OSError):
        if not remote:
            seconds = Path(address).stat().st_mtime
            return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return now()
