import pytest

from refersat.evaluation.published_results import RESULTS, Benchmark, benchmark_of


@pytest.mark.parametrize(
    ("kind", "samples", "name"),
    [("refsegrs", 1817, "RefSegRS"), ("rrsisd", 3481, "RRSIS-D"), ("risbench", 16159, "RISBench")],
)
def test_full_official_test_splits_have_published_results(kind, samples, name):
    found = benchmark_of({"source": f"{kind}:/data", "split": "test", "samples": samples, "limit": None})
    assert isinstance(found, Benchmark)
    assert found.name == name
    assert {"LAVT", "RMSIN", "CroBIM"} <= {result.method.name for result in found.results}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"source": "triplets:/data/rrsisd"}, "no official benchmark split"),
        ({"split": "val"}, "the split “val” of RRSIS-D; papers report the test split"),
        ({"samples": 264}, "lists 264 test samples where RRSIS-D has 3481"),
        ({"limit": 100}, "Only the first 100 of 3481"),
        ({"sets": [{"name": "a"}, {"name": "b"}]}, "several data sets together"),
    ],
)
def test_anything_else_says_why_nothing_is_comparable(data, reason):
    full = {"source": "rrsisd:/data", "split": "test", "samples": 3481, "limit": None}
    found = benchmark_of(full | data)
    assert isinstance(found, str)
    assert reason in found


def test_a_limit_that_cuts_nothing_off_is_no_limit():
    data = {"source": "rrsisd:/data", "split": "test", "samples": 3481, "limit": 5000}
    assert isinstance(benchmark_of(data), Benchmark)


def test_numbers_are_percent_and_those_of_our_model_card():
    from refersat.models import zoo

    results = [result for members in RESULTS.values() for result in members]
    for result in results:
        numbers = [value for value in (result.miou, result.oiou, result.pr50, result.pr90) if value is not None]
        assert all(10 < value < 100 for value in numbers)
    for kind, name, split in (
        ("rrsisd", "rs2sam2-rrsisd", "RRSIS-D test"),
        ("refsegrs", "rs2sam2-refsegrs", "RefSegRS test"),
    ):
        card = zoo.card(name).published[split]
        (listed,) = [result for result in RESULTS[kind] if result.method.name == "RS2-SAM 2"]
        assert (listed.miou, listed.oiou, listed.pr50, listed.pr90) == tuple(
            card[measure] for measure in ("mIoU", "oIoU", "Pr@0.5", "Pr@0.9")
        )
