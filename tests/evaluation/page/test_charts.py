from xml.etree import ElementTree

import pytest

from refersat.evaluation.page import charts
from refersat.evaluation.page.charts import HEIGHT, WIDTH, Axis, Bin, ReliabilityBin, Series

UNIT = Axis("x", 0, 1)


def drawn(markup, path):
    return ElementTree.fromstring(markup).findall(f".//{path}")


def numbers(element, *names):
    return [float(element.attrib[name]) for name in names]


def test_line_runs_from_corner_to_corner():
    markup = charts.line_chart(
        [Series("a", [(0, 0), (1, 50), (2, 100)])], x=Axis("", 0, 2), y=Axis("", 0, 100), label=""
    )
    (line,) = drawn(markup, "polyline")
    points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    (left, bottom), (middle_x, middle_y), (right, top) = points
    frame = drawn(markup, "line[@class='axis']")[-1]
    assert numbers(frame, "x1", "x2", "y1") == [left, right, bottom]
    assert (middle_x, middle_y) == ((left + right) / 2, (top + bottom) / 2)
    assert 0 < left < right < WIDTH
    assert 0 < top < bottom < HEIGHT


def test_points_beyond_the_axes_stay_on_the_drawing():
    markup = charts.line_chart([Series("a", [(-5, -5), (5, 5)])], x=UNIT, y=UNIT, label="")
    inside = charts.line_chart([Series("a", [(0, 0), (1, 1)])], x=UNIT, y=UNIT, label="")
    assert drawn(markup, "polyline")[0].attrib == drawn(inside, "polyline")[0].attrib


def test_short_lines_have_dots_that_tell_their_numbers_and_long_ones_none():
    short = charts.line_chart([Series("mIoU", [(0.5, 0.25)], 1)], x=UNIT, y=UNIT, label="")
    (dot,) = drawn(short, "circle")
    assert dot.findtext("title") == "mIoU: 0.25 at 0.5"
    assert dot.attrib["class"] == "dot c1"
    long = charts.line_chart([Series("", [(k / 99, 0.5) for k in range(100)])], x=UNIT, y=UNIT, label="")
    assert not drawn(long, "circle")


def test_mark_stands_where_it_says():
    markup = charts.line_chart([Series("", [(0.3, 0.3)])], x=UNIT, y=UNIT, label="", mark=(0.3, "used: 0.3"))
    (mark,) = drawn(markup, "line[@class='mark']")
    (dot,) = drawn(markup, "circle")
    assert mark.attrib["x1"] == mark.attrib["x2"] == dot.attrib["cx"]
    assert "used: 0.3" in [item.text for item in drawn(markup, "text")]


def test_bars_are_as_high_as_their_counts_and_missing_at_zero():
    bins = [Bin(0, 0.5, (10, 0)), Bin(0.5, 1, (5, 20))]
    bars = drawn(charts.histogram(bins, names=["a", "b"], x=UNIT, y_label="", label=""), "rect")
    heights = [numbers(bar, "height")[0] for bar in bars]
    assert len(bars) == 3
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.02)
    assert heights[2] == pytest.approx(4 * heights[1], abs=0.02)
    assert [bar.attrib["class"] for bar in bars] == ["bar c0", "bar c0", "bar c1"]
    assert numbers(bars[2], "x")[0] == pytest.approx(sum(numbers(bars[1], "x", "width")), abs=0.02)
    assert bars[2].findtext("title") == "b: 20 from 0.5 to 1"


def test_one_among_many_stays_visible():
    bars = drawn(
        charts.histogram([Bin(0, 0.5, (1,)), Bin(0.5, 1, (10**6,))], names=["a"], x=UNIT, y_label="", label=""), "rect"
    )
    assert numbers(bars[0], "height")[0] >= 1.5


def test_histogram_of_nothing():
    assert not drawn(charts.histogram([Bin(0, 1, (0,))], names=["a"], x=UNIT, y_label="", label=""), "rect")


def test_calibrated_answers_lie_on_the_diagonal_and_others_show_their_distance():
    bins = [ReliabilityBin(0, 0.5, 100, 0.25, 0.25), ReliabilityBin(0.5, 1, 25, 0.75, 1.0)]
    markup = charts.reliability_diagram(bins, x_label="", y_label="", label="")
    (diagonal,) = drawn(markup, "line[@class='reference']")
    calibrated, confident = drawn(markup, "circle")
    x0, y0, x1, y1 = numbers(diagonal, "x1", "y1", "x2", "y2")
    x, y = numbers(calibrated, "cx", "cy")
    assert (y - y0) / (y1 - y0) == pytest.approx((x - x0) / (x1 - x0), abs=1e-3)
    assert numbers(confident, "cy")[0] == y1
    gaps = [abs(y2 - y1) for y1, y2 in (numbers(gap, "y1", "y2") for gap in drawn(markup, "line[@class='gap']"))]
    assert gaps[0] == 0
    assert gaps[1] == pytest.approx(abs(y1 - y0) / 4, abs=0.02)
    assert numbers(calibrated, "r") > numbers(confident, "r")


def test_interval_strip_without_an_interval_shows_the_difference_alone():
    strip = ElementTree.fromstring(charts.interval_strip(1.0, None, reach=4, verdict="unclear"))
    assert strip.attrib["class"] == "strip unclear"
    assert strip.find("line[@class='range']") is None
    assert strip.find("circle") is not None


def test_interval_strip_is_symmetric_about_zero_and_held_within():
    strip = ElementTree.fromstring(charts.interval_strip(0, (-2, 2), reach=4, verdict="unclear"))
    (zero,) = numbers(strip.find("line[@class='zero']"), "x1")
    low, high = numbers(strip.find("line[@class='range']"), "x1", "x2")
    assert zero - low == high - zero > 0
    far = ElementTree.fromstring(charts.interval_strip(0, (-200, 200), reach=4, verdict="unclear"))
    low, high = numbers(far.find("line[@class='range']"), "x1", "x2")
    assert 0 <= low < high <= float(far.attrib["width"])


def test_shift_strip_runs_from_before_to_after():
    strip = ElementTree.fromstring(charts.shift_strip(0.25, 0.75))
    (half,) = (numbers(line, "x1")[0] for line in strip.findall("line") if line.attrib["x1"] == line.attrib["x2"])
    (before,) = numbers(strip.find("circle[@class='ring']"), "cx")
    (after,) = numbers(strip.find("circle[@class='centre']"), "cx")
    assert half - before == after - half > 0
    assert strip.attrib["class"] == "strip better"
    assert ElementTree.fromstring(charts.shift_strip(0.6, 0.1)).attrib["class"] == "strip worse"


def test_labels_are_escaped():
    hostile = "</svg><script>"
    axis = Axis(hostile, 0, 1, lambda value: hostile)
    root = ElementTree.fromstring(
        charts.line_chart([Series(hostile, [(0, 0)])], x=axis, y=axis, label=hostile, mark=(0, hostile))
    )
    assert root.findtext("title") == hostile
    assert not root.findall(".//script")
