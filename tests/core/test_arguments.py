"""What a timeout may be."""

import math

import pytest

from jchannel._core.arguments import check_name, check_timeout


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(None, math.inf), (0, 0.0), (3, 3.0), (0.5, 0.5), (-0.0, 0.0), (math.inf, math.inf), (10**400, math.inf)],
)
def test_a_timeout_is_seconds_or_no_limit(timeout: float | None, seconds: float) -> None:
    checked = check_timeout(timeout)
    assert type(checked) is float
    assert checked == seconds


@pytest.mark.parametrize("timeout", [True, False, "3", [3], 3j])
def test_a_timeout_of_another_type_is_refused(timeout: object) -> None:
    with pytest.raises(TypeError, match=r"^timeout must be seconds as int or float, or None for no limit, and not "):
        check_timeout(timeout)  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout", [-1, -0.001, -math.inf, math.nan])
def test_a_timeout_that_is_negative_or_not_a_number_is_refused(timeout: float) -> None:
    wrong = "must be a number" if math.isnan(timeout) else "must not be negative"
    with pytest.raises(ValueError, match=f"^timeout {wrong}, and it is {timeout}$"):
        check_timeout(timeout)


@pytest.mark.parametrize("extra", [0, 1])
def test_the_name_of_a_method_is_as_long_as_may_be_and_one_more_character_is_refused(extra: int) -> None:
    name = "ü" * (1_000 + extra)
    if extra:
        with pytest.raises(ValueError, match="the name of a method has 1,001 characters, and 1,000 are the most"):
            check_name(name)
    else:
        check_name(name)
