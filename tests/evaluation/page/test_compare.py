from xml.etree import ElementTree

import pytest

from refersat.evaluation.compare import Comparison, Flip, Group, Measure
from refersat.evaluation.page import write_compare_page
from refersat.evaluation.page.compare import compare_page

HOSTILE = "<script>alert('x')</script>\"'&</title>"


def measure(name="mIoU", a=40.0, difference=3.0, interval=(1.0, 5.0), p_value=0.004):
    return Measure(name, a, a + difference, difference, interval, p_value)


@pytest.fixture
def make_comparison():
    def make(**changes):
        values = {
            "a": "first",
            "b": "second",
            "protocol": "native",
            "count": 1200,
            "images": 300,
            "only_a": 0,
            "only_b": 0,
            "measures": (measure(), measure("false_positive_area", 3.0, -1.0, (-2.0, -0.5), 0.0001)),
            "by_type": (Group("position", 60, measure(difference=-2.0, interval=(-3.0, -1.0))),),
            "flips": (Flip("s1", "the ship", "unique", 0.25, 0.75), Flip("s2", "the bridge", "unique", 0.625, 0.0)),
        }
        return Comparison(**values | changes)

    return make


def words(element):
    return " ".join(" ".join(element.itertext()).split())


def rows(root, key):
    return root.findall(f".//section[@id='{key}']//tbody/tr")


def test_differences_with_interval_and_p_value(make_comparison):
    root = ElementTree.fromstring(compare_page(make_comparison()))
    first, second = rows(root, "differences")
    assert words(first) == "mIoU 40.00 43.00 +3.00 +1.00 to +5.00 0.004"
    assert words(second) == "false positive area less is better 3.00 2.00 \u22121.00 \u22122.00 to \u22120.50 < 0.001"
    assert [row.find(".//svg").attrib["class"] for row in (first, second)] == ["strip better", "strip better"]


def test_types_have_their_counts(make_comparison):
    root = ElementTree.fromstring(compare_page(make_comparison()))
    (row,) = rows(root, "types")
    assert words(row) == "position 60 40.00 38.00 \u22122.00 \u22123.00 to \u22121.00 0.004"
    assert row.find(".//svg").attrib["class"] == "strip worse"


@pytest.mark.parametrize(
    ("difference", "interval", "p_value", "said"),
    [
        (3.0, (1.0, 5.0), 0.004, "second is 3.00 points of mIoU better"),
        (-3.0, (-5.0, -1.0), 0.004, "second is 3.00 points of mIoU worse"),
        (3.0, (1.0, 5.0), 0.2, "second is not clearly different"),
        (3.0, (-1.0, 7.0), 0.004, "second is not clearly different"),
        (3.0, None, None, "second is not clearly different"),
    ],
)
def test_the_outcome_is_no_surer_than_interval_and_p_value(make_comparison, difference, interval, p_value, said):
    changed = make_comparison(measures=(measure(difference=difference, interval=interval, p_value=p_value),))
    root = ElementTree.fromstring(compare_page(changed))
    assert words(root.find(".//p[@class='result']")).startswith(said)


@pytest.mark.parametrize(
    ("name", "interval", "verdict"),
    [
        ("mIoU", (1.0, 5.0), "better"),
        ("mIoU", (-5.0, -1.0), "worse"),
        ("mIoU", (0.0, 5.0), "unclear"),
        ("false_positive_area", (1.0, 5.0), "worse"),
        ("false_positive_area", (-5.0, -1.0), "better"),
    ],
)
def test_colours_say_whether_more_is_better(make_comparison, name, interval, verdict):
    root = ElementTree.fromstring(compare_page(make_comparison(measures=(measure(name, interval=interval),))))
    assert rows(root, "differences")[0].find(".//svg").attrib["class"] == f"strip {verdict}"


def test_flips_by_direction(make_comparison):
    root = ElementTree.fromstring(compare_page(make_comparison()))
    flips = root.find(".//section[@id='flips']")
    assert [words(title) for title in flips.iter("h3")] == ["Found by second only: 1", "Found by first only: 1"]
    assert [words(row) for row in rows(root, "flips")] == [
        "the ship unique s1 0.25 0.75",
        "the bridge unique s2 0.62 0.00",
    ]
    assert "crosses 0.5 in 2 of 1,200 samples" in words(flips)


def test_many_flips_are_cut_and_counted(make_comparison):
    flips = tuple(Flip(f"s{k}", "the ship", "unique", 0.0, 0.9) for k in range(130))
    root = ElementTree.fromstring(compare_page(make_comparison(flips=flips)))
    assert len(rows(root, "flips")) == 100
    assert "and 30 more" in words(root.find(".//section[@id='flips']"))


def test_samples_of_one_run_only_are_told(make_comparison):
    root = ElementTree.fromstring(compare_page(make_comparison(only_b=12)))
    assert words(root.find(".//header/p[@class='caution']")) == (
        "Caution. 12 samples are in second only; they are left out here."
    )
    assert ElementTree.fromstring(compare_page(make_comparison())).find(".//p[@class='caution']") is None


def test_runs_without_a_single_target(make_comparison):
    measures = (measure("absent_accuracy", interval=None, p_value=None),)
    root = ElementTree.fromstring(compare_page(make_comparison(count=0, measures=measures, by_type=(), flips=())))
    assert words(rows(root, "differences")[0]) == "absent accuracy 40.00 43.00 +3.00 \u2013 \u2013"
    assert [section.attrib["id"] for section in root.iter("section")] == ["differences", "flips"]


def test_hostile_text_is_shown_and_never_run(make_comparison, tmp_path):
    comparison = make_comparison(
        a=HOSTILE,
        b=HOSTILE,
        protocol=HOSTILE,
        only_a=1,
        by_type=(Group(HOSTILE, 1, measure(HOSTILE)),),
        flips=(Flip(HOSTILE, HOSTILE, HOSTILE, 0.1, 0.9), Flip(HOSTILE, HOSTILE, HOSTILE, 0.9, 0.1)),
    )
    path = tmp_path / "compare.html"
    write_compare_page(path, comparison)
    root = ElementTree.parse(path).getroot()
    assert not list(root.iter("script"))
    assert words(root.find(".//h1")) == f"{HOSTILE} against {HOSTILE}"
    assert words(rows(root, "flips")[0]).startswith(HOSTILE)
