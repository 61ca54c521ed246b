"""From images, masks and a model's answers to the numbers."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from refersat.data.samples import Sample
from refersat.data.triplets import read_triplets
from refersat.errors import UserError
from refersat.evaluation.protocol import FIELD_480, NATIVE, choose_protocols
from refersat.evaluation.reading import Loaded, Question
from refersat.evaluation.report import metrics_of, per_sample_csv
from refersat.evaluation.rows import Evaluation
from refersat.evaluation.run import evaluate_samples, measure, units_of
from refersat.imagery import Image
from refersat.result import Result


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
    by_type, by_size, by_category = (native.pop(f"by_{name}") for name in ("type", "size", "category"))
    assert native.pop("intervals").keys() == native.keys() - {"count"}
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
    assert {name: group["mIoU"] for name, group in by_category.items()} == {"ship": 100}


PAIRS = st.tuples(st.integers(1, 7), st.integers(1, 7)).flatmap(
    lambda shape: st.tuples(
        arrays.arrays(np.float32, shape, elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
        st.none() | arrays.arrays(np.bool_, shape),
        st.sampled_from(["ship", "bridge"]),
        st.floats(0, 1, width=32),
    )
)


@settings(max_examples=60, deadline=None)
@given(cases=st.lists(PAIRS, min_size=1, max_size=8), threshold=st.sampled_from([0.25, 0.4, 0.5]))
def test_every_number_equals_an_independent_count(cases, threshold):
    """Random probabilities and truths through the whole of counting, against plain NumPy on the masks themselves."""
    evaluation = Evaluation.empty([NATIVE])
    ious, intersections, unions, empty, painted, kinds = [], 0, 0, [], [], []
    for number, (probability, truth, category, score) in enumerate(cases):
        image = Image(np.zeros((*probability.shape, 3), np.uint8))
        mask = probability > threshold
        result = Result(image, "x", "m", mask, probability, score, bool(mask.any()), 0.0)
        sample = Sample(f"{number}", None, "x", None, category=category, image_id=f"{number}", absent=truth is None)
        evaluation.rows.append(
            measure(Loaded(Question(number, sample), image, truth, 0.0), result, [NATIVE], threshold)
        )
        if truth is None:
            empty.append(mask.sum() == 0)
            painted.append(mask.mean())
            continue
        both, either = np.logical_and(mask, truth).sum(), np.logical_or(mask, truth).sum()
        ious.append(both / either if either else 0.0)
        kinds.append(category)
        intersections, unions = intersections + both, unions + either
    metrics = metrics_of(evaluation)
    native, presence = metrics["native"], metrics["presence"]
    assert (native["count"], presence["count_absent"]) == (len(ious), len(empty))
    if ious:
        assert native["mIoU"] == pytest.approx(100 * np.mean(ious))
        assert native["oIoU"] == pytest.approx(100 * intersections / unions if unions else 0.0)
        for tenths in (5, 6, 7, 8, 9):
            assert native[f"Pr@0.{tenths}"] == pytest.approx(100 * np.mean(np.array(ious) >= tenths / 10))
        for kind in set(kinds):
            mine = [value for value, of in zip(ious, kinds, strict=True) if of == kind]
            assert native["by_category"][kind]["mIoU"] == pytest.approx(100 * np.mean(mine))
    if empty:
        assert presence["absent_accuracy"] == pytest.approx(100 * np.mean(empty))
        assert presence["false_positive_area"] == pytest.approx(100 * np.mean(painted))


def test_squares_count_their_own_pixels(segmenter, folder):
    evaluation = run(segmenter, folder)
    intersection, union = evaluation.rows[1].overlaps["480"]
    assert union >= 24 * 24  # one pixel of 20 is 24 of 480
    assert 0 < intersection <= 24 * 24
    metrics = metrics_of(evaluation)
    assert set(metrics) == {"native", "480", "1024", "presence"}
    assert metrics["480"]["oIoU"] != metrics["native"]["oIoU"]


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
    total = Evaluation.empty(protocols)
    total.merge(left)
    total.merge(right)
    assert total.tallies["native"].result() == whole.tallies["native"].result()
    assert total.presence.result() == whole.presence.result()
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
    assert (lines[0]["pixels"], lines[0]["image"], lines[0]["present"], lines[2]["present"]) == (
        "200",
        "0.png",
        "1",
        "0",
    )
    assert float(lines[0]["present_score"]) == pytest.approx(230 / 255)


def test_one_protocol_fills_the_plain_columns(segmenter, folder):
    evaluation = run(segmenter, folder, protocols=(FIELD_480,))
    line = next(csv.DictReader(io.StringIO(per_sample_csv(evaluation))))
    assert int(line["union"]) == evaluation.rows[0].overlaps["480"][1]
    assert not [name for name in line if name.startswith("iou_")]
    assert set(metrics_of(evaluation)) == {"480", "presence"}


def test_a_phrase_without_a_type_gets_one_from_its_words(segmenter, write_triplets):
    folder = write_triplets(
        [(block(9, 9, (0, 3), (0, 3), 200), block(9, 9, (0, 3), (0, 3)), {"sentence": "the leftmost ship"})]
    )
    assert run(segmenter, folder).rows[0].type == "extreme"


def test_an_answer_that_the_model_withheld_is_marked(segmenter):
    image = Image(np.zeros((2, 2, 3), np.uint8))
    sample = Sample("a", None, "x", None, image_id="i")
    truth = np.ones((2, 2), np.bool_)

    def row(probability):
        nothing = np.zeros((2, 2), np.bool_)
        result = Result(image, "x", "m", nothing, np.full((2, 2), probability, np.float32), 0.1, False, 0.0)
        return measure(Loaded(Question(0, sample), image, truth, 0.0), result, [NATIVE], 0.5)

    assert row(0.8).withheld
    assert not row(0.4).withheld


def test_a_mask_of_another_size_is_explained(segmenter, write_triplets):
    folder = write_triplets([(block(10, 20, (0, 1), (0, 1), 255), block(10, 10, (0, 1), (0, 1)), {})])
    with pytest.raises(UserError, match="sample s0: the mask has 10x10 pixels, the image 20x10"):
        run(segmenter, folder)


def test_units_keep_to_one_image_unless_a_batch_size_is_told(segmenter):
    samples = [Sample(f"{k}", image, "x", None) for k, image in enumerate(["a", "a", "a", "b", "c", "c"])]
    questions = [Question(k, sample) for k, sample in enumerate(samples)]

    def sizes(batch_size):
        return [[question.number for question in unit] for unit in units_of(questions, segmenter, batch_size)]

    assert sizes(None) == [[0, 1], [2], [3], [4, 5]]  # the segmenter's own batch size is 2
    assert sizes(4) == [[0, 1, 2, 3], [4, 5]]


def test_where_the_time_went_adds_up(segmenter, folder):
    rows = run(segmenter, folder).rows
    assert all(row.seconds.model > 0 and row.seconds.scoring > 0 and row.seconds.background > 0 for row in rows)
