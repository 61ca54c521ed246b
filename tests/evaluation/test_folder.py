"""An evaluation into a folder: at one go or in several, in any batches, over one data set or more."""

import csv
import json
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from refersat.errors import UserError
from refersat.evaluation import provenance
from refersat.evaluation.folder import evaluate_into
from refersat.evaluation.request import Request


@contextmanager
def bar(title, total):
    yield lambda: None


@pytest.fixture
def model(monkeypatch, segmenter):
    """The red segmenter goes by any name, and its files by any content."""
    digests = {"model.safetensors": "1"}
    monkeypatch.setattr("refersat.load", lambda *_, **__: segmenter)
    monkeypatch.setattr(provenance, "model_files", lambda folder: (digests, {}))
    return SimpleNamespace(segmenter=segmenter, digests=digests)


@pytest.fixture
def data(write_triplets):
    """Fifteen phrases about five images, every third of which names nothing."""
    rng = np.random.default_rng(0)
    cases = []
    for k in range(15):
        truth = None if k % 3 == 0 else rng.random((20, 30)) < 0.4
        cases.append((rng.integers(0, 256, (20, 30)), truth, {"image": f"{k % 5}.png", "type": f"type {k % 2}"}))
    return f"triplets:{write_triplets(cases)}"


def numbers(folder):
    """What must not depend on how the work was done."""
    metrics = json.loads((folder / "metrics.json").read_text())
    return {k: v for k, v in metrics.items() if k not in ("time", "run")}, (folder / "per_sample.csv").read_text()


def evaluate(out, data, **options):
    into = {name: options.pop(name) for name in ("overwrite", "workers") if name in options}
    return evaluate_into(out, Request(model="any", data=(data,), **options), bar=bar, **into)


@pytest.mark.usefixtures("model")
def test_files(tmp_path, data):
    finished = evaluate(tmp_path / "out", data)
    assert {path.name for path in finished.files} == {"metrics.json", "per_sample.csv", "report.html"}
    assert all(path.is_file() for path in finished.files)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics == json.loads(json.dumps(finished.metrics))
    assert metrics["native"]["count"] == 10
    assert metrics["presence"]["count_absent"] == 5
    assert metrics["confidence"] == {"level": 95, "replicates": 1000, "seed": 0, "images": 5}
    assert sum(metrics["time"]["percent"].values()) == pytest.approx(100)
    assert list(metrics["native"]["by_dataset"]) == ["set"]
    assert len(metrics["curves"]["mIoU"]) == 19


@pytest.mark.parametrize("stop", [1, 4, 9, 14])
def test_an_interrupted_run_goes_on_where_it_was(tmp_path, data, model, stop):
    evaluate(tmp_path / "whole", data)
    asked = list(model.segmenter.asked)
    model.segmenter.asked.clear()

    @contextmanager
    def stopping_bar(title, total):
        left = stop

        def step():
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

        yield step

    request = Request(model="any", data=(data,))
    with pytest.raises(KeyboardInterrupt):
        evaluate_into(tmp_path / "out", request, bar=stopping_bar)
    assert not (tmp_path / "out" / "metrics.json").exists()
    assert len(model.segmenter.asked) <= stop + 1
    evaluate(tmp_path / "out", data)
    assert sorted(model.segmenter.asked) == sorted(asked)  # nothing was asked twice, nothing was left out
    assert numbers(tmp_path / "out") == numbers(tmp_path / "whole")
    pages = [(tmp_path / place / "progress" / "cases") for place in ("out", "whole")]
    assert [path.name for path in sorted(pages[0].iterdir())] == [path.name for path in sorted(pages[1].iterdir())]


def test_a_finished_run_only_writes_its_report_anew(tmp_path, data, model):
    evaluate(tmp_path / "out", data)
    before = numbers(tmp_path / "out")
    model.segmenter.asked.clear()
    (tmp_path / "out" / "report.html").unlink()
    evaluate(tmp_path / "out", data)
    assert model.segmenter.asked == []
    assert numbers(tmp_path / "out") == before
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_the_batch_size_changes_nothing(tmp_path, data, batch_size):
    evaluate(tmp_path / "out", data)
    evaluate(tmp_path / "other", data, batch_size=batch_size)
    assert numbers(tmp_path / "other") == numbers(tmp_path / "out")


def test_another_evaluation_in_the_folder_is_refused_unless_told_to_overwrite(tmp_path, data, model):
    out = tmp_path / "out"
    evaluate(out, data)
    before = numbers(out)
    for change, what in (
        ({"threshold": 0.4}, "--threshold"),
        ({"protocol": "480"}, "--protocol"),
        ({"limit": 3}, "--limit"),
        ({"split": "val"}, "data"),
    ):
        with pytest.raises(UserError, match=rf"differs from this one \({what}\)"):
            evaluate(out, data, **change)
    model.digests["model.safetensors"] = "2"
    with pytest.raises(UserError, match=r"differs from this one \(model\)"):
        evaluate(out, data)
    assert numbers(out) == before
    evaluate(out, data, threshold=0.4, overwrite=True)
    assert numbers(out) != before


@pytest.mark.usefixtures("model")
def test_several_data_sets_together_and_each(tmp_path, data, write_triplets):
    folder = tmp_path / "more"
    folder.mkdir()
    (tmp_path / "set").rename(folder / "first")
    rng = np.random.default_rng(3)
    write_triplets([(rng.integers(0, 256, (8, 8)), rng.random((8, 8)) < 0.5, {}) for _ in range(4)])
    sources = (f"triplets:{folder / 'first'}", f"triplets:{tmp_path / 'set'}")
    evaluate_into(tmp_path / "both", Request(model="any", data=sources), bar=bar)
    metrics, text = numbers(tmp_path / "both")
    alone = []
    for k, source in enumerate(sources):
        evaluate(tmp_path / f"alone {k}", source)
        alone.append(numbers(tmp_path / f"alone {k}")[0]["native"])
    assert list(metrics["native"]["by_dataset"]) == ["first", "set"]
    for part, expected in zip(metrics["native"]["by_dataset"].values(), alone, strict=True):
        assert part["mIoU"] == pytest.approx(expected["mIoU"])
        assert part["count"] == expected["count"]
    assert metrics["native"]["count"] == 14
    assert metrics["native"]["mIoU"] == pytest.approx((10 * alone[0]["mIoU"] + 4 * alone[1]["mIoU"]) / 14)
    assert [entry["name"] for entry in metrics["data"]["sets"]] == ["first", "set"]
    assert text.count(",first") == 15


@pytest.mark.usefixtures("model")
def test_masks_are_kept_when_asked_for(tmp_path, data):
    evaluate(tmp_path / "out", data, save_masks=True)
    masks = tmp_path / "out" / "masks"
    lines = list(csv.DictReader((tmp_path / "out" / "per_sample.csv").open()))
    assert len(list(masks.iterdir())) == len(lines) == 15
    for number, line in enumerate(lines):
        mask = np.asarray(Image.open(masks / f"{number}.png"))
        assert set(np.unique(mask)) <= {0, 255}
        assert np.count_nonzero(mask) == int(line["predicted_area"])
    with pytest.raises(UserError, match="--save-masks"):
        evaluate(tmp_path / "out", data)
    (masks / "mine.png").touch()
    evaluate(tmp_path / "out", data, overwrite=True)
    assert [path.name for path in masks.iterdir()] == ["mine.png"]


@pytest.mark.usefixtures("model")
def test_a_mistake_on_the_way_keeps_what_was_done(tmp_path, data):
    image = tmp_path / "set" / "4.png"
    content = image.read_bytes()
    image.write_bytes(b"broken")
    with pytest.raises(UserError, match=r"4\.png"):
        evaluate(tmp_path / "out", data)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["progress"]
    image.write_bytes(content)
    evaluate(tmp_path / "out", data)
    evaluate(tmp_path / "whole", data)
    assert numbers(tmp_path / "out") == numbers(tmp_path / "whole")


@pytest.mark.usefixtures("model")
def test_a_mistake_before_anything_is_done_leaves_nothing(tmp_path, data):
    (tmp_path / "set" / "0.png").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"0\.png"):
        evaluate(tmp_path / "out", data)
    assert not (tmp_path / "out").exists()
