"""The SQLite file of jobs and uploads: what is known again after a restart."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeAlias

from refersat.errors import UserError

Status: TypeAlias = Literal["accepted", "running", "successful", "failed", "dismissed"]
ENDED: tuple[Status, ...] = ("successful", "failed", "dismissed")

_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, status TEXT NOT NULL, message TEXT NOT NULL, progress INTEGER NOT NULL,
    inputs TEXT NOT NULL, starts INTEGER NOT NULL,
    created TEXT NOT NULL, updated TEXT NOT NULL, started TEXT, finished TEXT
);
CREATE TABLE IF NOT EXISTS uploads (
    id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, address TEXT NOT NULL, created TEXT NOT NULL
);
"""


def now() -> str:
    """The time in UTC, as all documents tell it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def new_id(kind: str) -> str:
    """An identifier that nobody can guess."""
    return f"{kind}-{secrets.token_hex(10)}"


@dataclass(frozen=True)
class Job:
    """A run over a scene: asked for, going on, or ended.

    Attributes:
        id: its name in addresses; its result's, too.
        tenant: whose it is.
        status: one of OGC API - Processes.
        message: how it stands, in words.
        progress: percent.
        inputs: as asked.
        starts: how often it was begun; more than once when the server was stopped in between.
        created, updated, started, finished: times in UTC.
    """

    id: str
    tenant: str
    status: Status
    message: str
    progress: int
    inputs: Mapping[str, Any]
    starts: int
    created: str
    updated: str
    started: str | None
    finished: str | None


@dataclass(frozen=True)
class Upload:
    """An image that a user brought, or an address that one named.

    Attributes:
        id: its name in addresses.
        tenant: whose it is.
        name: what the user calls it.
        address: a file's name in the folder of uploads, or an address of the web.
        created: time in UTC.
    """

    id: str
    tenant: str
    name: str
    address: str
    created: str


class Store:
    """The file; any thread may use it.

    Args:
        path: made if missing.

    Raises:
        UserError: it cannot be opened, or is something else.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.executescript(_TABLES)
        except sqlite3.Error as error:
            raise UserError(f"cannot open {path}: {error}; move it away to begin anew") from error

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._connection.close()

    def _do(self, statement: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def add_job(self, tenant: str, inputs: Mapping[str, Any]) -> Job:
        """A new one that waits."""
        identifier, time = new_id("j"), now()
        self._do(
            "INSERT INTO jobs VALUES (?, ?, 'accepted', 'waits for its turn', 0, ?, 0, ?, ?, NULL, NULL)",
            (identifier, tenant, json.dumps(inputs), time, time),
        )
        job = self.job(identifier)
        assert job is not None
        return job

    def job(self, identifier: str) -> Job | None:
        """One job."""
        found = self._do("SELECT * FROM jobs WHERE id = ?", (identifier,))
        return _job(found[0]) if found else None

    def jobs(
        self, *, tenant: str | None = None, status: Sequence[str] = (), limit: int = -1, newest_first: bool = True
    ) -> list[Job]:
        """Those of a tenant, or all; of some statuses, or any."""
        wanted, values = ["1"], []
        if tenant is not None:
            wanted.append("tenant = ?")
            values.append(tenant)
        if status:
            wanted.append(f"status IN ({', '.join('?' * len(status))})")
            values += status
        order = "DESC" if newest_first else "ASC"
        rows = self._do(
            f"SELECT * FROM jobs WHERE {' AND '.join(wanted)} ORDER BY created {order}, rowid {order} LIMIT ?",
            [*values, limit],
        )
        return [_job(row) for row in rows]

    def counts(self) -> dict[str, int]:
        """Jobs by status."""
        return {row[0]: row[1] for row in self._do("SELECT status, COUNT(*) FROM jobs GROUP BY status")}

    def begin_job(self, identifier: str) -> bool:
        """Note that a waiting job runs; False when it no longer waits."""
        time = now()
        changed = self._do(
            "UPDATE jobs SET status = 'running', message = 'begins', starts = starts + 1, updated = ?, "
            "started = COALESCE(started, ?) WHERE id = ? AND status = 'accepted' RETURNING id",
            (time, time, identifier),
        )
        return bool(changed)

    def note_progress(self, identifier: str, progress: int, message: str) -> None:
        """How far a running job is."""
        self._do(
            "UPDATE jobs SET progress = ?, message = ?, updated = ? WHERE id = ? AND status = 'running'",
            (progress, message, now(), identifier),
        )

    def end_job(self, identifier: str, status: Status, message: str) -> bool:
        """Note how a job ended; False when it had ended before."""
        time = now()
        progress = ", progress = 100" if status == "successful" else ""
        changed = self._do(
            f"UPDATE jobs SET status = ?, message = ?, updated = ?, finished = ?{progress} "
            "WHERE id = ? AND status IN ('accepted', 'running') RETURNING id",
            (status, message, time, time, identifier),
        )
        return bool(changed)

    def forget_result(self, identifier: str) -> None:
        """Note that an ended job's result is gone."""
        self._do(
            "UPDATE jobs SET status = 'dismissed', message = 'its result was deleted', updated = ? WHERE id = ?",
            (now(), identifier),
        )

    def wait_again(self) -> int:
        """After a restart: what ran waits again. Returns how many."""
        message = "goes on after a restart of the server"
        return len(
            self._do(
                "UPDATE jobs SET status = 'accepted', message = ?, updated = ? WHERE status = 'running' RETURNING id",
                (message, now()),
            )
        )

    def drop_ended_jobs(self, days: float) -> list[str]:
        """Forget what ended longer ago; gives their names."""
        marks = ", ".join("?" * len(ENDED))
        rows = self._do(
            f"DELETE FROM jobs WHERE updated < ? AND status IN ({marks}) RETURNING id", (_before(days), *ENDED)
        )
        return [row[0] for row in rows]

    def add_upload(self, upload: Upload) -> None:
        """Note an image that is in its place."""
        self._do(
            "INSERT INTO uploads VALUES (?, ?, ?, ?, ?)",
            (upload.id, upload.tenant, upload.name, upload.address, upload.created),
        )

    def uploads(self, tenant: str) -> list[Upload]:
        """A tenant's, newest first."""
        rows = self._do("SELECT * FROM uploads WHERE tenant = ? ORDER BY created DESC, rowid DESC", (tenant,))
        return [Upload(**row) for row in rows]

    def upload(self, identifier: str) -> Upload | None:
        """One of anybody's."""
        found = self._do("SELECT * FROM uploads WHERE id = ?", (identifier,))
        return Upload(**found[0]) if found else None

    def drop_upload(self, identifier: str) -> None:
        """Forget one."""
        self._do("DELETE FROM uploads WHERE id = ?", (identifier,))

    def old_uploads(self, days: float) -> list[Upload]:
        """Those that came longer ago."""
        return [Upload(**row) for row in self._do("SELECT * FROM uploads WHERE created < ?", (_before(days),))]


def _before(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _job(row: sqlite3.Row) -> Job:
    return Job(**{**dict(row), "inputs": json.loads(row["inputs"])})
