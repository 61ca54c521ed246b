from xml.etree import ElementTree

import numpy as np
import pytest

from refersat.evaluation.page import write_page
from refersat.evaluation.page.report import report_page

HOSTILE = "<script>alert('x')</script>\"'&</style></title><img src=http://evil.example onerror=alert(1)>"


@pytest.fixture
def make_page(make_metrics, make_row, make_case, make_cases):
    """The page as a tree; parsing it proves that it is well-formed."""

    def make(metrics=None, rows=None, cases=None):
        if rows is None:
            rows = [make_row(k) for k in range(12)] + [make_row(20 + k, overlap=None, score=0.3) for k in range(3)]
        if cases is None:
            cases = make_cases(best=[make_case()], worst=[make_case(iou=0.0)], random=[make_case()])
        return ElementTree.fromstring(report_page(metrics or make_metrics(), rows, cases))

    return make


def words(element):
    return " ".join(" ".join(element.itertext()).split())


def section(root, key):
    return root.find(f".//section[@id='{key}']")


def test_every_part_is_there_and_linked(make_page):
    root = make_page()
    keys = [item.attrib["id"] for item in root.iter("section")]
    assert keys == ["numbers", "published", "breakdowns", "spread", "presence", "calibration", "cases", "provenance"]
    assert [link.attrib["href"] for link in root.find(".//nav")] == [f"#{key}" for key in keys]
    assert root.findtext("head/title") == "built-in on triplets:probe"


def test_headline_numbers_with_their_intervals(make_page):
    numbers = words(section(make_page(), "numbers"))
    assert "mIoU 47.2 43.2 to 50.2" in numbers
    assert "95 % interval" in numbers
    assert "480 46.50 42.5 to 49.5" in numbers
    assert "480 : 480x480" in numbers


def test_numbers_without_intervals_promise_none(make_page, make_metrics):
    metrics = make_metrics()
    for protocol in ("native", "480"):
        del metrics[protocol]["intervals"]
    numbers = words(section(make_page(metrics), "numbers"))
    assert "47.2" in numbers
    assert "interval" not in numbers


def test_breakdowns_put_the_best_first_and_keep_the_order_of_sizes(make_page):
    tables = section(make_page(), "breakdowns").findall(".//tbody")
    names = [[words(row.find("th")) for row in table] for table in tables]
    assert names == [["unique", "position"], ["<0.5%", ">8%"]]
    assert "60.00" in words(tables[0][0])
    fill = tables[0][0].find(".//span[@class='fill']")
    assert fill.attrib["style"] == "width:60.0%"


def test_published_results_stand_beside_a_full_official_test_split(make_page, make_metrics):
    root = make_page(make_metrics(data={"source": "rrsisd:/data/rrsisd", "samples": 3481}))
    rows = section(root, "published").findall(".//tbody/tr")
    order = [words(row.find("th")) for row in rows]
    assert order[0] == "EviSAM3"
    assert order[-2:] == ["built-in, this run", "built-in, this run"]
    own = [words(row) for row in rows if row.attrib.get("class") == "own"]
    assert own[0] == "built-in, this run 47.25 52.25 23.62 23.62 native measured here"
    ours = next(words(row) for row in rows if row.find("th").text == "RS2-SAM 2")
    assert ours == "RS2-SAM 2 66.72 78.99 77.56 29.73 1024 Rong et al., AAAI 2026, arXiv 2503.07266"
    assert "checkpoint chosen on the test split" in words(section(root, "published"))


def test_other_data_gets_a_caution_and_no_table(make_page):
    published = section(make_page(), "published")
    assert words(published.find("p")).startswith("Caution. This data is no official benchmark split")
    assert published.find(".//table") is None


def test_presence_shows_only_where_phrases_name_nothing(make_page, make_row):
    presence = words(section(make_page(), "presence"))
    for expected in ("3 phrases name nothing", "12 name something", "AUROC 72.5", "46.0", "3.2", "absent-category"):
        assert expected in presence
    assert section(make_page(rows=[make_row(k) for k in range(3)]), "presence") is None


def test_empty_bins_of_a_calibration_are_left_out(make_page):
    diagrams = section(make_page(), "calibration").findall(".//svg")
    assert [diagram.attrib["aria-label"] for diagram in diagrams] == [
        "mIoU and oIoU by threshold",
        "Reliability of pixels",
    ]
    assert len(diagrams[1].findall("circle")) == 1


def test_a_run_without_a_single_target(make_page, make_metrics, make_row, make_cases):
    nothing = dict.fromkeys(("mIoU", "oIoU", *(f"Pr@0.{k}" for k in range(5, 10)))) | {"count": 0}
    metrics = make_metrics(native=nothing, curves={"thresholds": [], "mIoU": [], "pixel_calibration": []})
    metrics["480"] = nothing
    metrics["presence"]["presence_auroc"] = None
    root = make_page(metrics, [make_row(0, overlap=None)], make_cases())
    keys = [item.attrib["id"] for item in root.iter("section")]
    assert keys == ["numbers", "published", "presence", "provenance"]
    assert "mIoU \u2013" in words(section(root, "numbers"))


def test_provenance_is_complete(make_page, make_metrics):
    provenance = words(section(make_page(), "provenance"))
    for expected in (
        "9f" * 32,
        "ab" * 32,
        "1,234,567",
        "refersat evaluate --data triplets:probe",
        "intersection / union",
    ):
        assert expected in provenance


def test_hostile_text_is_shown_and_never_run(make_page, make_metrics, make_row, make_case, make_cases):
    metrics = make_metrics(data={"source": HOSTILE, "split": HOSTILE})
    metrics["model"]["name"] = HOSTILE
    metrics["run"]["command"] = HOSTILE
    metrics["native"]["by_type"] = {HOSTILE: metrics["native"]["by_type"]["position"]}
    metrics["protocols"]["native"] = HOSTILE
    metrics["presence"]["by_type"] = {HOSTILE: metrics["presence"]["by_type"]["absent-category"]}
    metrics["rules"] = {HOSTILE: HOSTILE}
    case = make_case(id=HOSTILE, phrase=HOSTILE, type=HOSTILE, category=HOSTILE)
    root = make_page(metrics, cases=make_cases(random=[case]))
    allowed = {"html", "head", "meta", "title", "style", "body", "header", "nav", "main", "section", "footer"}
    assert not {"script", "iframe", "object", "form", "img"} & {element.tag for element in root.iter()}
    assert allowed <= {element.tag for element in root.iter()}
    assert not any(name.startswith("on") for element in root.iter() for name in element.attrib)
    assert words(root.find(".//h1")) == f"{HOSTILE} on {HOSTILE}"


def test_page_asks_for_nothing_outside_itself(make_page):
    for element in make_page().iter():
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert element.attrib.get(name, "#").startswith(("#", "data:image/")), element.attrib
        assert "url(" not in (element.text or "")
        assert "@import" not in (element.text or "")


def test_page_of_the_noisiest_images_stays_small(tmp_path, make_metrics, make_row, make_case, make_cases):
    rng = np.random.default_rng(0)

    def noisy():
        noise = rng.random((320, 320))
        return make_case(
            image=rng.integers(0, 256, (320, 320, 3), dtype=np.uint8),
            truth=rng.random((320, 320)) > 0.5,
            prediction=noise > 0.5,
            probability=noise.astype(np.float32),
        )

    cases = make_cases(random=[noisy() for _ in range(2)])
    path = tmp_path / "report.html"
    write_page(path, metrics=make_metrics(), rows=[make_row(k) for k in range(20)], cases=cases)
    assert path.stat().st_size < 60_000 + 5_000_000 * 2 / 48  # the rest of the page, and two of 48 cases
    ElementTree.parse(path)
