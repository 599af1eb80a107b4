"""The limits of what a peer controls."""

import dataclasses
import math
from typing import Any

import pytest

from jchannel.trio import Limits

NAMES = [field.name for field in dataclasses.fields(Limits)]
WHOLE = [name for name in NAMES if isinstance(getattr(Limits(), name), int) and not name.endswith("_seconds")]


def make(name: str, value: Any) -> Limits:
    """The limits with one that is not the default."""
    return Limits(**{name: value})


def test_every_limit_has_a_default() -> None:
    assert all(getattr(Limits(), name) > 0 for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_limit_can_be_set(name: str) -> None:
    assert getattr(make(name, 7_000), name) == 7_000


def test_a_frame_must_have_room_for_what_the_library_has_to_say() -> None:
    assert make("frame_bytes", 4_096).frame_bytes == 4_096
    with pytest.raises(ValueError, match="frame_bytes must be at least 4,096, and it is 4095"):
        make("frame_bytes", 4_095)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WHOLE])
def test_a_limit_in_seconds_may_have_a_fraction(name: str) -> None:
    assert getattr(make(name, 0.25), name) == 0.25


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["1", None, True, 1j])
def test_a_limit_of_another_type_is_refused_by_its_name(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"^the limit {name} must be an? (int|number), and not "):
        make(name, value)


@pytest.mark.parametrize("name", WHOLE)
def test_a_limit_in_whole_numbers_takes_no_fraction(name: str) -> None:
    with pytest.raises(TypeError, match=rf"^the limit {name} must be an int, and not 1\.5$"):
        make(name, 1.5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_that_is_not_positive_is_refused_by_its_name(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"^the limit {name} must be positive and finite, and it is {value}$"):
        make(name, value)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_limit_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"^the limit close_seconds must be positive and finite"):
        Limits(close_seconds=value)
