"""What is computed from the values of a table."""

import math
from array import array

from hypothesis import given
from hypothesis import strategies as st

from jchannel.demo.table import rolling_mean, value_range


def test_a_rolling_mean_takes_in_the_neighbours_on_both_sides() -> None:
    assert list(rolling_mean(array("d", [1, 2, 6, 4]), 3)) == [1.5, 3, 4, 5]


def test_missing_values_do_not_count() -> None:
    assert list(rolling_mean(array("d", [1, math.nan, 3]), 3)) == [1, 2, 3]


def test_a_window_without_a_number_has_no_mean() -> None:
    means = rolling_mean(array("d", [math.nan, math.nan, 3]), 3)
    assert math.isnan(means[0])
    assert list(means[1:]) == [3, 3]


def test_a_window_of_one_changes_nothing() -> None:
    assert list(rolling_mean(array("d", [1, 5]), 1)) == [1, 5]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.integers(-5, 100))
def test_means_are_as_many_as_the_values_and_between_them(values: list[float], window: int) -> None:
    means = rolling_mean(array("d", values), window)
    assert len(means) == len(values)
    assert all(min(values) - 1e-3 <= mean <= max(values) + 1e-3 for mean in means)


def test_a_range_leaves_out_what_is_missing() -> None:
    assert value_range([math.nan, 3, 1]) == (1, 3)
