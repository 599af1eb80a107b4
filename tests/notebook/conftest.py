"""What the frontends' tests share."""

import sys

import pytest

from tests.notebook.kernel import FakeKernel


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """Makes this process look like a kernel that executes a cell."""
    kernel = FakeKernel()
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    return kernel
