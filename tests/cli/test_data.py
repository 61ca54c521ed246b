"""`refersat data verify|stats|preview` from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from refersat.cli.main import main
from tests.data.factories.pictures import rectangle, save_mask, save_picture
from tests.data.factories.refer import make_rrsisd

SIZE = (40, 30)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sound triplets in two splits."""
    folder = tmp_path / "ships"
    items = []
    for k, split in enumerate(["train", "test", "test"]):
        save_picture(folder / f"{k}.png", *SIZE, seed=k)
        save_mask(folder / f"{k}.mask.png", rectangle(*SIZE, 5, 6, 20, 16))
        item = {"id": k, "image": f"{k}.png", "mask": f"{k}.mask.png", "sentence": f"ship {k}", "split": split}
        items.append(item | {"type": "unique", "category": "ship"})
    (folder / "refs.json").write_text(json.dumps(items))
    return folder


def data(*words: object) -> int:
    return main(["data", *map(str, words)])


def verify(folder: Path, *words: object) -> int:
    return data("verify", f"triplets:{folder}", *words)


def printed_json(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_sound_data_are_in_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(folder) == 0
    out, err = capsys.readouterr()
    assert "ships is in order" in out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.startswith(("train", "test"))}
    assert rows == {"train": ["1", "-", "1", "1", "-", "-", "-"], "test": ["2", "-", "2", "2", "-", "-", "-"]}
    assert "3/3" in err


def test_a_fatal_fault_is_listed_and_exits_with_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "1.png").unlink()
    assert verify(folder) == 2
    out, err = capsys.readouterr()
    assert f"{folder / '1.png'}: no such file" in out
    assert "fault  image-missing x 1" in out
    assert err.splitlines()[-1] == f"refersat: error: triplets:{folder} cannot be used as it is: 1 image-missing"


def test_a_remark_exits_with_0_unless_strict(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_mask(folder / "1.mask.png", np.zeros(SIZE[::-1], np.bool_))
    assert verify(folder) == 0
    out, _ = capsys.readouterr()
    assert "remark mask-empty x 1" in out
    assert f"{folder / '1.mask.png'}: no pixel is set" in out
    assert "ships can be used, with 1 remark\n" in out
    assert verify(folder, "--strict") == 2


def test_long_lists_are_cut_and_json_has_them_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k in range(3):
        (folder / f"{k}.mask.png").unlink()
    assert verify(folder, "--show", "1") == 2
    out, _ = capsys.readouterr()
    assert out.count("no such file") == 1
    assert "and 2 more" in out
    assert verify(folder, "--json") == 2
    content = printed_json(capsys)
    assert (content["source"], content["usable"]) == (f"triplets:{folder}", False)
    assert [Path(fault["file"]).name for fault in content["faults"]] == [f"{k}.mask.png" for k in range(3)]


def test_one_split_cannot_leak_and_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = json.loads((folder / "refs.json").read_text())
    (folder / "refs.json").write_text(json.dumps(items[1:]))
    assert verify(folder) == 0
    assert "leaks between splits were not looked for" in capsys.readouterr().out


def test_published_counts_stand_beside_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_rrsisd(tmp_path)
    assert data("verify", f"rrsisd:{tmp_path}") == 0
    out, _ = capsys.readouterr()
    assert "12,181" in out
    assert "1 samples in val; RRSIS-D has 1,740" in out


def test_names_with_brackets_are_no_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "[bold]x"
    save_picture(folder / "[a].png", *SIZE)
    items = [{"id": "[/b]", "image": "[a].png", "mask": "[no].png", "sentence": "[it]", "type": "[x]"}]
    (folder / "refs.json").write_text(json.dumps(items))
    assert verify(folder) == 2
    out, _ = capsys.readouterr()
    assert "[no].png: no such file" in out
    assert "[bold]x cannot be used" in out
    save_mask(folder / "[no].png", rectangle(*SIZE, 5, 6, 20, 16))
    assert data("stats", f"triplets:{folder}") == 0
    out, _ = capsys.readouterr()
    assert "[bold]x" in out
    assert "[x]" in out


@pytest.mark.slow
def test_workers_are_started_from_the_command(folder: Path) -> None:
    words = ["-m", "refersat", "data", "verify", f"triplets:{folder}", "--workers", "2", "--json"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["usable"] is True


def test_stats_are_printed_and_written(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out_folder = tmp_path / "out"
    assert data("stats", f"triplets:{folder}", "--split", "test", "--out", out_folder) == 0
    out, err = capsys.readouterr()
    assert "2  samples" in out
    assert "unique" in out
    assert "40 x 30" in out
    assert str(out_folder / "stats.html") in out
    assert "2/2" in err
    assert json.loads((out_folder / "stats.json").read_text())["split"] == "test"
    assert {"stats.html", "categories.png", "target-coverage.png"} <= {path.name for path in out_folder.iterdir()}


def test_stats_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data("stats", f"triplets:{folder}", "--json") == 0
    content = printed_json(capsys)
    assert (content["samples"], content["splits"]) == (3, {"test": 2, "train": 1})


def test_stats_that_fail_leave_no_folder(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_mask(folder / "1.mask.png", np.zeros((5, 5), np.bool_))
    assert data("stats", f"triplets:{folder}", "--out", tmp_path / "out") == 2
    assert "sample 1: the mask has 5x5 pixels" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_preview_draws_a_sheet(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "sheet.png"
    assert data("preview", f"triplets:{folder}", "--out", path, "--count", 2) == 0
    assert capsys.readouterr().out == f"{path}\n"
    with Image.open(path) as sheet:
        assert sheet.format == "PNG"
        two = sheet.size
    assert data("preview", f"triplets:{folder}", "--out", path, "--split", "train") == 0
    with Image.open(path) as sheet:
        assert sheet.width < two[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["verify", "ships"], "KIND:PATH"),
        (["verify", "zip:ships"], "unknown kind of data 'zip'"),
        (["verify", "triplets:nowhere"], "cannot read nowhere"),
        (["verify", "triplets:{folder}", "--workers", "0"], "--workers"),
        (["stats", "triplets:{folder}", "--split", "val"], "no split 'val'"),
        (["stats", "triplets:{folder}", "--out", "{folder}/refs.json"], "is a file"),
        (["preview", "triplets:{folder}"], "--out"),
        (["preview", "triplets:{folder}", "--out", "x.jpg"], "x.jpg: the picture is a PNG"),
        (["preview", "triplets:{folder}", "--out", "x.png", "--count", "0"], "1 to 240 samples, not 0"),
    ],
)
def test_mistakes_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert data(*(word.format(folder=folder) for word in words)) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert (out, err.count("\n")) == ("", 1)
