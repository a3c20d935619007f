"""Figures read when somebody asks for them: values, and durations in buckets. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Gauges:
    """Values as they are now, by the values of their labels."""

    name: str
    text: str
    labels: Labels
    values: Mapping[Labels, float]


@dataclass(frozen=True)
class Durations:
    """Times in seconds: buckets added up, smallest first, and their sum, by the values of the labels."""

    name: str
    text: str
    labels: Labels
    values: Mapping[Labels, tuple[Sequence[tuple[str, float]], float]]
