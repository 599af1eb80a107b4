"""What the kernel's tests share: a kernel."""

import importlib.util
from collections.abc import Iterator

import pytest

from tests.kernel.kernel_process import Kernel

if importlib.util.find_spec("trio_asyncio") is None:  # It does not import on Python 3.14 and later.
    collect_ignore_glob = ["test_in_the_kernel*.py"]

IMPORTS = "import asyncio, contextlib, os, threading, time, trio, trio_asyncio"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel for the tests of a module."""
    with Kernel(tmp_path_factory.mktemp("kernel")) as kernel:
        assert kernel.run(IMPORTS).error == ""
        yield kernel


@pytest.fixture
def own_kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel that the test may end."""
    with Kernel(tmp_path_factory.mktemp("kernel")) as kernel:
        assert kernel.run(IMPORTS).error == ""
        yield kernel
