"""Batches on this machine: bad rows, kills, two runs at once, what changes between runs, and the tables."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import shapely

from refersat import __version__
from refersat.batch.job import Job
from refersat.batch.ledger import Ledger
from refersat.batch.on_ray import _Actor, _tasks
from refersat.batch.rows import Unit
from refersat.batch.run import Mode
from refersat.errors import UserError
from tests.batch import stand_in
from tests.batch.compare import answers
from tests.batch.drivers import Start, finished, wait_until


def results(out: Path) -> list[dict[str, str]]:
    with (out / "results.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_bad_row_is_a_row_with_its_error(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = stand_in.run(str(images), out, "local")
    assert (summary.rows, summary.found, summary.absent, summary.failed, summary.pending) == (12, 5, 5, 2, 0)
    assert summary.errors == [
        ("IMAGE is not an image that rasterio or Pillow can read: give a GeoTIFF, PNG or JPEG", 2)
    ]
    rows = results(out)
    assert [int(row["row"]) for row in rows] == list(range(1, 13))
    assert [row["status"] for row in rows] == ["failed"] * 2 + ["done"] * 10
    assert [row["present"] for row in rows] == ["", ""] + ["true", "false"] * 5
    for row in rows[2:]:
        assert (out / row["mask"]).is_file()
        assert (out / row["polygons"]).is_file()
    assert not (out / "work").exists()


def test_its_files_are_those_of_predict(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from refersat.cli.main import main

    monkeypatch.setattr("refersat.load", lambda *_, **__: stand_in.StandIn(), raising=False)
    good = sorted(str(path) for path in images.glob("image-*.tif"))
    words = ["predict", *good, "-t", "the square", "-t", "the unicorn", "--out", str(tmp_path / "predicted")]
    assert main(words) == 0
    stand_in.run(str(images), tmp_path / "out", "local")
    expected = {path.name: path.read_bytes() for path in (tmp_path / "predicted").iterdir()}
    ours = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("rows/*/image-*/image-*")}
    assert ours == expected


def test_one_table_of_all_polygons(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stand_in.run(str(images), out, "local")
    table = pyarrow.parquet.read_table(out / "polygons.parquet")
    assert table.column("row").to_pylist() == [3, 5, 7, 9, 11]  # 1 and 2 are those of the broken image
    assert table.column("pixels").null_count == 5
    for wkb, area in zip(table.column("geometry").to_pylist(), table.column("area_m2").to_pylist(), strict=True):
        longitude, latitude = shapely.from_wkb(wkb).centroid.coords[0]
        assert 2.9 < longitude < 3.1
        assert 51 < latitude < 52
        assert 100 < area < 1000
    geo = json.loads(table.schema.metadata[b"geo"])
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
    assert geo["columns"]["pixels"]["crs"] is None


def test_the_same_question_twice_and_a_name_that_is_no_unicode(images: Path, tmp_path: Path) -> None:
    strange = os.fsdecode(b"strange-\xff.tif")
    (images / "image-000.tif").rename(images / strange)
    table = tmp_path / "table.csv"
    table.write_text("image,phrase\nimages/image-001.tif,it\nimages/image-002.tif,it\nimages/image-001.tif,it\n")
    assert stand_in.run(str(table), tmp_path / "twice", "local").polygons == 2
    rows = results(tmp_path / "twice")
    assert [row["status"] for row in rows] == ["done"] * 3
    assert rows[0]["mask"] == rows[2]["mask"] != rows[1]["mask"]
    assert stand_in.run(str(images), tmp_path / "out", "local").found == 4
    errors = {row["error"] for row in results(tmp_path / "out") if "strange" in row["image"]}
    assert len(errors) == 1
    assert errors.pop().endswith("its name is not Unicode, rename it")


def test_without_pyarrow_the_table_comes_later(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("refersat.batch.tables.has_parquet", lambda: False)
        assert stand_in.run(str(images), out, "local").polygons is None
    assert not (out / "polygons.parquet").exists()
    assert stand_in.run(str(images), out, "local", Mode(resume=True)).polygons == 5


def test_a_batch_is_not_gone_on_with_unasked(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stand_in.run(str(images), out, "local")
    with pytest.raises(UserError, match="6 finished images: add --resume"):
        stand_in.run(str(images), out, "local")
    before = answers(out)
    stand_in.run(str(images), out, "local", Mode(overwrite=True))
    assert answers(out) == before


def test_another_version_is_another_batch(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    stand_in.run(str(images), out, "local")
    monkeypatch.setattr("refersat.batch.job.__version__", "9.9")
    with pytest.raises(UserError, match="the version of refersat"):
        stand_in.run(str(images), out, "local", Mode(resume=True))


def test_a_catalogue_may_grow(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stand_in.run(str(images), out, "local")
    kept = {path: path.stat().st_mtime_ns for path in out.glob("rows/*/*/record.json")}
    stand_in.write_images(tmp_path / "more", 1)
    (tmp_path / "more" / "image-000.tif").rename(images / "another.tif")
    summary = stand_in.run(str(images), out, "local", Mode(resume=True))
    assert (summary.rows, summary.found) == (14, 6)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_what_is_damaged_is_made_again(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stand_in.run(str(images), out, "local")
    before = answers(out)
    records = sorted(out.glob("rows/*/image-*/record.json"))
    records[0].write_bytes(b"")  # a power cut after the rename
    next(records[1].parent.glob("*.mask.tif")).write_bytes(b"II")
    next(records[2].parent.glob("*.geojson")).unlink()
    stand_in.run(str(images), out, "local", Mode(resume=True))
    assert answers(out) == before


def test_failed_rows_can_be_tried_again(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stand_in.run(str(images), out, "local")
    stand_in.write_images(tmp_path / "more", 1)
    (tmp_path / "more" / "image-000.tif").replace(images / "broken.tif")
    assert stand_in.run(str(images), out, "local", Mode(resume=True)).failed == 2
    assert stand_in.run(str(images), out, "local", Mode(resume=True, retry_failed=True)).failed == 0


def test_a_full_disk_is_no_rows_fault(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from refersat.output import write_file

    def full(path: Path, content: bytes) -> None:
        if path.suffix == ".geojson":
            try:
                raise OSError(28, os.strerror(28))
            except OSError as error:
                raise UserError(f"cannot write {path}") from error
        write_file(path, content)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("refersat.answer_files.write_file", full)
        with pytest.raises(UserError, match="cannot write"):
            stand_in.run(str(images), out, "local")
    assert finished(out) == 1  # the broken one, which came first
    assert stand_in.run(str(images), out, "local", Mode(resume=True)).found == 5


@pytest.mark.parametrize("large", [False, True])
def test_files_are_written_while_the_model_works(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    from refersat.answer_files import write_answers

    (images / "broken.tif").unlink()
    asked: list[str] = []
    when_written: list[int] = []
    answer = stand_in.StandIn.stream
    next_is_asked = threading.Event()

    def stream(self: stand_in.StandIn, questions: Iterable[Any], **options: Any) -> Iterator[Any]:
        for result in answer(self, questions, **options):
            asked.append(result.image.path.name)
            if len(set(asked)) == 2:
                next_is_asked.set()
            yield result

    def write(*arguments: Any) -> Any:
        next_is_asked.wait(0 if large else 60)
        when_written.append(len(set(asked)))
        return write_answers(*arguments)

    monkeypatch.setattr(stand_in.StandIn, "stream", stream)
    monkeypatch.setattr("refersat.answer_files.write_answers", write)
    if large:  # so that several answers would not fit into memory
        monkeypatch.setattr("refersat.batch.worker._MOST_WAITING", 2 * 48 * 48 - 1)
    assert stand_in.run(str(images), tmp_path / "out", "local").found == 5
    assert when_written[0] == (0 if large else 2)


def test_scenes_go_by_the_other_way(tmp_path: Path) -> None:
    from dataclasses import replace

    from refersat.batch.catalogue import read_catalogue
    from refersat.batch.on_ray import Cluster
    from refersat.batch.run import make_engine, run_batch

    stand_in.write_images(tmp_path / "images", 1)
    stand_in.write_images(tmp_path / "large", 1, side=1700)
    (tmp_path / "large" / "image-000.tif").rename(tmp_path / "images" / "large.tif")
    job = Job(tmp_path / "out", model="stand-in", load=stand_in.load)
    rows = read_catalogue(str(tmp_path / "images"), ["all squares"])
    here = make_engine("local", Cluster())
    summary = run_batch(rows, job, here, watch=lambda outcomes, *_: list(outcomes))
    assert (summary.found, summary.failed, summary.polygons) == (2, 0, 2)
    assert [Path(row["mask"]).name for row in results(tmp_path / "out")] == ["image-000-1.mask.tif", "large-1.tif"]
    again = replace(job, out=tmp_path / "again")
    run_batch(rows, again, here, watch=lambda outcomes, *_: list(outcomes))
    assert answers(tmp_path / "again") == answers(tmp_path / "out")
    assert [row["area_px"] for row in results(tmp_path / "out")] == ["150", "150"]


def test_a_worker_of_ray_tells_each_outcome_when_it_is_there(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    Ledger(out).work.mkdir(parents=True)
    worker = _Actor(Job(out, model="stand-in", load=stand_in.load, kind="image"), __version__)
    task = json.dumps([[str(path), ["the square"]] for path in sorted(images.iterdir())])
    told = worker({"item": np.array([task])})
    for number in range(1, 7):
        (line,) = next(told)["outcome"]
        assert finished(out) == number
        assert (json.loads(line)["error"] is None) == (number > 1)
    assert list(told) == []
    other = _Actor(Job(out, model="stand-in", load=stand_in.load), "9.9")({"item": np.array([task])})
    assert [list(json.loads(line)) for each in other for line in each["outcome"]] == [["refused"]]


@pytest.mark.parametrize(
    ("workers", "together", "size"), [(2, 1, 31), (2, 8, 24), (50, 8, 8), (50, 1, 1), (1, 100, 100)]
)
def test_tasks_of_ray_are_as_many_images_as_go_through_the_model_together(
    workers: int, together: int, size: int
) -> None:
    units = [Unit(f"{number}.tif", ("it",)) for number in range(1000)]
    tasks = _tasks(units, workers, together)
    assert [unit for task in tasks for unit in task] == units
    assert {len(task) for task in tasks[:-1]} == {size}


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_where_no_cluster_answers_nobody_waits(images: Path, tmp_path: Path, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"{scheme}127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(UserError, match=rf"no Ray cluster at {address} \(Connection refused\)"):
        stand_in.run(str(images), tmp_path / "out", "ray", address=address)


@pytest.mark.parametrize("failures", [2, 3])
def test_a_cluster_whose_process_for_the_driver_dies_is_asked_again(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    ray = pytest.importorskip("ray")
    calls = []

    def init(address: str, **options: object) -> None:
        calls.append(address)
        if len(calls) <= failures:
            raise ConnectionAbortedError("Initialization failure from server:\nTraceback:\n  RuntimeError: it died\n")
        raise RuntimeError("this is the end of the test")

    monkeypatch.setattr(ray, "init", init)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"ray://127.0.0.1:{listening.getsockname()[1]}"
        told = "this is the end of the test" if failures == 2 else r"\): RuntimeError: it died$"
        with pytest.raises(UserError, match=told):
            stand_in.run(str(images), tmp_path / "out", "ray", address=address)
    assert calls == [address] * 3


@pytest.mark.slow
def test_a_killed_run_goes_on(images: Path, tmp_path: Path, start: Start) -> None:
    stand_in.run(str(images), tmp_path / "whole", "local")
    out = tmp_path / "out"
    for count in (1, 3):
        run = start(images, out, "local", "--resume", seconds=0.3)
        wait_until(lambda: finished(out) > count, run)  # noqa: B023
        run.kill()
        run.wait()
        assert not (out / "results.csv").exists()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("rows/*/*/record.json")}
    assert start(images, out, "local", "--resume").wait(300) == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # none was made twice
    assert answers(out) == answers(tmp_path / "whole")
    assert not (out / "work").exists()


@pytest.mark.slow
def test_two_runs_never_share_a_folder(images: Path, tmp_path: Path, start: Start) -> None:
    out = tmp_path / "out"
    run = start(images, out, "local", seconds=0.5)
    wait_until(lambda: finished(out) > 0, run)
    with pytest.raises(UserError, match=rf"another batch is writing to .* \(process {run.pid} on .*wait for it"):
        stand_in.run(str(images), out, "local", Mode(resume=True))
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert stand_in.run(str(images), out, "local", Mode(resume=True)).found == 5  # a killed run's lock is free


@pytest.mark.slow
def test_an_image_that_kills_its_process_becomes_a_row_with_an_error(
    images: Path, tmp_path: Path, start: Start
) -> None:
    (images / "image-002.tif").rename(images / f"image-002-{stand_in.DEADLY}.tif")
    out = tmp_path / "out"
    for _ in range(3):
        assert start(images, out, "local", "--resume").wait(300) == -signal.SIGKILL
    assert start(images, out, "local", "--resume").wait(300) == 0
    failed = [row for row in results(out) if row["status"] == "failed"]
    assert [Path(row["image"]).name for row in failed] == ["broken.tif"] * 2 + ["image-002-deadly.tif"] * 2
    assert "3 processes died at work on it" in failed[-1]["error"]
