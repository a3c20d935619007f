"""How old a template's image is, in the unit in which one says it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

# Half a year of updates has to be fetched at the first start.
OLD_DAYS = 180


class AgeUnit(StrEnum):
    """What an age is counted in."""

    DAY = "day"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True)
class ImageAge:
    """`count` whole units; `old` when servers made from it begin with many updates."""

    count: int
    unit: AgeUnit
    old: bool


def image_age(made_at: datetime, now: datetime) -> ImageAge:
    """Return how old an image is: days up to two months, months up to two years; one from the future has none."""
    days = max((now - made_at).days, 0)
    old = days >= OLD_DAYS
    if days < 60:
        return ImageAge(days, AgeUnit.DAY, old)
    if days < 730:
        return ImageAge(days // 30, AgeUnit.MONTH, old)
    return ImageAge(days // 365, AgeUnit.YEAR, old)
