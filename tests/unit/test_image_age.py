"""How old an image is said to be."""

from datetime import UTC, datetime, timedelta

from app.domain.image_age import AgeUnit, ImageAge, image_age

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def age(days: float) -> ImageAge:
    return image_age(NOW - timedelta(days=days), NOW)


def test_an_age_is_told_in_the_unit_one_would_use() -> None:
    assert (age(0.5).count, age(0.5).unit) == (0, AgeUnit.DAY)
    assert (age(59).count, age(59).unit) == (59, AgeUnit.DAY)
    assert (age(60).count, age(60).unit) == (2, AgeUnit.MONTH)
    assert (age(729).count, age(729).unit) == (24, AgeUnit.MONTH)
    assert (age(1100).count, age(1100).unit) == (3, AgeUnit.YEAR)


def test_half_a_year_is_old() -> None:
    assert [age(d).old for d in (10, 179, 180, 1000)] == [False, False, True, True]


def test_a_clock_that_runs_ahead_makes_no_negative_age() -> None:
    assert age(-3) == ImageAge(0, AgeUnit.DAY, False)
