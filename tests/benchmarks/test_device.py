"""The measurement of a device runs where there is none, and then publishes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.speed import device

from poolwise.errors import OptionError

pytest.importorskip("torch")


def test_a_try_on_the_processor_measures_all_and_writes_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(device, "RESULT", tmp_path / "device.md")
    monkeypatch.setattr(device, "TINY", (1500, 16, 5, 40))
    assert device.main(["--device", "cpu", "--tiny", "--folder", str(tmp_path / "pool")]) == 0
    page = capsys.readouterr().out
    assert page.count("| yes |") == len(device.STRATEGIES)
    assert "the processor, through torch" in page and "| not on the device |" in page
    assert [path.name for path in tmp_path.iterdir()] == ["pool"]


def test_a_device_that_is_not_there_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cuda:99"):
        device.main(["--device", "cuda:99", "--folder", str(tmp_path)])
    assert not any(tmp_path.iterdir())


def test_limits_are_told_as_multiples() -> None:
    assert device.verdict(0.5, None) == "" == device.verdict(0.5, 0.07, device.TINY)
    assert device.verdict(0.05, 0.07) == "within"
    assert device.verdict(0.7, 0.07) == "10 times the limit"
