"""The wish to stop: noted once, a second Ctrl-C is obeyed at once. Whole runs that stop are in test_stopping.py."""

from __future__ import annotations

import signal
import threading

import pytest

from refersat.training.interruption import StopRequest

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)


def test_the_first_ctrl_c_is_noted_and_the_next_acts_as_before() -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with StopRequest() as request:
        assert not request.made
        signal.raise_signal(signal.SIGINT)
        assert request.made
        assert signal.getsignal(signal.SIGINT) is before[0]
    assert [signal.getsignal(each) for each in SIGNALS] == before


@pytest.mark.parametrize(
    ("number", "launched"), [(signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGINT, True)]
)
def test_what_is_passed_on_once_more_is_one_request(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals, launched: bool
) -> None:
    if launched:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    before = [signal.getsignal(each) for each in SIGNALS]
    with StopRequest() as request:
        signal.raise_signal(number)
        signal.raise_signal(number)
        assert request.made
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_handlers_are_put_back_after_an_error() -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with pytest.raises(RuntimeError), StopRequest():
        raise RuntimeError
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def run() -> None:
        with StopRequest() as request:
            seen.append((request.made, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


@pytest.mark.parametrize(
    ("number", "launched", "again"),
    [(signal.SIGINT, False, True), (signal.SIGINT, True, False), (signal.SIGTERM, False, False)],
)
def test_who_asks_is_told_at_once_and_once(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    number: signal.Signals,
    launched: bool,
    again: bool,
) -> None:
    if launched:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    with StopRequest(answers=True):
        signal.raise_signal(number)
        told = capfd.readouterr().err
        if not again:
            signal.raise_signal(number)
    line = "stopping as soon as this step is done, to save the state" + (
        "; Ctrl-C again stops at once" if again else ""
    )
    assert told == line + "\n"
    assert capfd.readouterr().err == ""


def test_nobody_is_told_unless_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    with StopRequest():
        signal.raise_signal(signal.SIGTERM)
    assert capfd.readouterr().err == ""
