import csv
import io
import json

import numpy as np
import pytest
from rich.console import Console

from refersat.data.triplets import read_triplets
from refersat.errors import UserError
from refersat.evaluation.protocol import FIELD_480, NATIVE, choose_protocols
from refersat.evaluation.report import metrics_of, per_sample_csv, presence_line, results_table, write_report
from refersat.evaluation.run import evaluate_samples


def block(height, width, rows, columns, value=True):
    mask = np.zeros((height, width), dtype=bool if value is True else np.uint8)
    mask[slice(*rows), slice(*columns)] = value
    return mask


@pytest.fixture
def folder(write_triplets):
    return write_triplets(
        [
            # 10 x 20: 30 of 60 px found, nothing beside
            (block(10, 20, (0, 6), (0, 5), 230), block(10, 20, (0, 6), (0, 10)), {"type": "position"}),
            # 20 x 20: exact, 1 px
            (block(20, 20, (3, 4), (3, 4), 204), block(20, 20, (3, 4), (3, 4)), {"type": "size", "category": "ship"}),
            # a target that is not found
            (block(20, 20, (0, 4), (0, 4), 51), block(20, 20, (0, 4), (0, 4)), {"type": "size"}),
            # nothing to find: answered empty, answered with a quarter
            (block(20, 20, (0, 4), (0, 4), 102), None, {"type": "absent-category"}),
            (block(20, 20, (0, 10), (0, 10), 217), None, {"type": "absent-relation"}),
        ]
    )


def run(segmenter, folder, **options):
    options = {"protocols": choose_protocols(None), **options}
    return evaluate_samples(segmenter, read_triplets(folder).samples, **options)


def test_native_numbers(segmenter, folder):
    native = metrics_of(run(segmenter, folder))["native"]
    by_type, by_size = native.pop("by_type"), native.pop("by_size")
    assert native == pytest.approx(
        {
            "mIoU": 50,
            "oIoU": 100 * 31 / 77,
            "Pr@0.5": 200 / 3,
            "Pr@0.6": 100 / 3,
            "Pr@0.7": 100 / 3,
            "Pr@0.8": 100 / 3,
            "Pr@0.9": 100 / 3,
            "count": 3,
        }
    )
    assert {name: (group["count"], group["mIoU"]) for name, group in by_type.items()} == {
        "position": (1, 50),
        "size": (2, 50),
    }
    assert {name: group["count"] for name, group in by_size.items()} == {"<0.5%": 1, "2-8%": 1, ">8%": 1}


def test_squares_count_their_own_pixels(segmenter, folder):
    evaluation = run(segmenter, folder)
    intersection, union = evaluation.rows[1].overlaps["480"]
    assert union >= 24 * 24  # one pixel of 20 is 24 of 480
    assert 0 < intersection <= 24 * 24
    assert set(metrics_of(evaluation)) == {"native", "480", "1024", "presence"}
    assert metrics_of(evaluation)["480"]["oIoU"] != metrics_of(evaluation)["native"]["oIoU"]


def test_presence(segmenter, folder):
    presence = metrics_of(run(segmenter, folder))["presence"]
    assert presence["absent_accuracy"] == 50
    assert presence["present_recall"] == pytest.approx(200 / 3)
    assert presence["false_positive_area"] == pytest.approx(12.5)
    assert presence["presence_auroc"] == pytest.approx(100 * 3 / 6)  # .9 beats both, .8 one of .4 and .85, .2 none
    assert presence["by_type"]["absent-category"]["presence_auroc"] == pytest.approx(100 * 2 / 3)
    assert (presence["count_present"], presence["count_absent"]) == (3, 2)


def test_threshold_reaches_every_protocol(segmenter, folder):
    evaluation = run(segmenter, folder, threshold=0.1)
    assert metrics_of(evaluation)["native"]["mIoU"] == pytest.approx(100 * (0.5 + 1 + 1) / 3)
    assert evaluation.rows[2].overlaps["480"][0] > 84 * 84  # 4 x 4 of 20 px, less an unsure rim


def test_merged_halves_equal_the_whole(segmenter, folder):
    samples = read_triplets(folder).samples
    protocols = choose_protocols(None)
    whole = evaluate_samples(segmenter, samples, protocols=protocols)
    left, right = (evaluate_samples(segmenter, part, protocols=protocols) for part in (samples[:2], samples[2:]))
    left.merge(right)
    assert metrics_of(left) == metrics_of(whole)
    assert per_sample_csv(left) == per_sample_csv(whole)
    with pytest.raises(ValueError, match="different protocols"):
        left.merge(evaluate_samples(segmenter, samples[:1], protocols=(NATIVE,)))


def test_per_sample_lines_add_up_to_the_metrics(segmenter, folder):
    evaluation = run(segmenter, folder)
    lines = list(csv.DictReader(io.StringIO(per_sample_csv(evaluation))))
    assert list(lines[0])[:6] == ["id", "phrase", "iou", "intersection", "union", "present_score"]
    assert [line["id"] for line in lines] == ["s0", "s1", "s2", "s3", "s4"]
    targets = [line for line in lines if line["iou"]]
    assert [line["id"] for line in targets] == ["s0", "s1", "s2"]
    numbers = metrics_of(evaluation)
    for protocol, suffix in (("native", ""), ("480", "_480"), ("1024", "_1024")):
        mean = np.mean([float(line[f"iou{suffix}"]) for line in targets])
        assert 100 * mean == pytest.approx(numbers[protocol]["mIoU"])
        ratio = sum(int(t[f"intersection{suffix}"]) for t in targets) / sum(int(t[f"union{suffix}"]) for t in targets)
        assert 100 * ratio == pytest.approx(numbers[protocol]["oIoU"])
    assert (lines[1]["target_area"], lines[4]["predicted_area"], lines[1]["category"]) == ("1", "100", "ship")
    assert float(lines[0]["present_score"]) == pytest.approx(230 / 255)


def test_one_protocol_fills_the_plain_columns(segmenter, folder):
    evaluation = run(segmenter, folder, protocols=(FIELD_480,))
    line = next(csv.DictReader(io.StringIO(per_sample_csv(evaluation))))
    assert int(line["union"]) == evaluation.rows[0].overlaps["480"][1]
    assert not [name for name in line if name.startswith("iou_")]
    assert set(metrics_of(evaluation)) == {"480", "presence"}


def test_report_files(segmenter, folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    evaluation = run(segmenter, folder)
    write_report(out, evaluation, {"run": {"dtype": "float32"}})
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["native"]["mIoU"] == 50
    assert metrics["run"] == {"dtype": "float32"}
    assert (out / "per_sample.csv").read_text() == per_sample_csv(evaluation)
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "per_sample.csv"]


def test_what_a_person_reads(segmenter, folder):
    evaluation = run(segmenter, folder)
    console = Console(width=140)
    with console.capture() as capture:
        console.print(results_table(evaluation))
    text = capture.get()
    assert [line.split()[:2] for line in text.splitlines() if line.startswith("native ")] == [["native", "50.00"]]
    assert "native: size" in text
    assert "phrases that name nothing (2): 50.00 % answered empty" in presence_line(evaluation)
    targets_only = evaluate_samples(segmenter, read_triplets(folder).samples[:2], protocols=(NATIVE,))
    assert presence_line(targets_only) is None


def test_a_mask_of_another_size_is_explained(segmenter, write_triplets):
    folder = write_triplets([(block(10, 20, (0, 1), (0, 1), 255), block(10, 10, (0, 1), (0, 1)), {})])
    with pytest.raises(UserError, match="sample s0: the mask has 10x10 pixels, the image 20x10"):
        run(segmenter, folder)
