"""Figures and their pictures."""

from decimal import Decimal

import pytest

from coinapi_ems_async.cli.stats import bar, sparkline, summarise
from coinapi_ems_async.cli.tables import amount


def test_percentiles_are_samples() -> None:
    figures = summarise([value / 1000 for value in range(1, 101)])
    assert (figures.calls, figures.p50, figures.p99, figures.maximum) == (100, 0.050, 0.099, 0.100)
    assert summarise([0.5]).data()["p99_milliseconds"] == 500


def test_bars() -> None:
    assert bar(10, 10, 8).plain == "█" * 8
    assert bar(5, 10, 8).plain == "█" * 4
    assert bar(0.0001, 10, 8).plain == "▏"
    assert bar(0, 0, 8).plain == ""
    assert sparkline([1, 2, 3]).plain == "▁▅█"
    assert sparkline([1, 1]).plain == "▁▁"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("1234567.8900", "1,234,567.89"),
        ("-0.50", "-0.5"),
        ("0E-8", "0"),
        ("1E+3", "1,000"),
        ("123456789012345678901234567890.12", "123,456,789,012,345,678,901,234,567,890.12"),
    ],
)
def test_numbers_for_people(value: str, shown: str) -> None:
    assert amount(Decimal(value)).plain == shown
    assert amount(None).plain == "-"
