"""One kernel for all tests of this folder that need no other."""

from collections.abc import Iterator

import pytest

from tests.kernels.kernel import Kernel


@pytest.fixture(scope="session")
def kernel() -> Iterator[Kernel]:
    with Kernel() as kernel:
        yield kernel
