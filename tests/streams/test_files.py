"""What is a binary file."""

import gzip
import io
import tempfile
from pathlib import Path
from typing import Literal

import pytest
import trio

from jchannel._streams.files import check_binary_file

METHODS: list[Literal["read", "write"]] = ["read", "write"]


@pytest.mark.parametrize("method", METHODS)
def test_binary_files_are_taken(method: Literal["read", "write"], tmp_path: Path) -> None:
    check_binary_file(io.BytesIO(), method)
    with tempfile.TemporaryFile() as file:
        check_binary_file(file, method)
    with gzip.open(tmp_path / "x.gz", "wb") as packed:
        check_binary_file(packed, "write")


def test_an_object_with_the_method_alone_is_taken() -> None:
    class Reader:
        def read(self, size: int) -> bytes:
            raise NotImplementedError

    check_binary_file(Reader(), "read")


@pytest.mark.parametrize("method", METHODS)
def test_text_files_are_refused(method: Literal["read", "write"]) -> None:
    with pytest.raises(TypeError, match=r"is a text file: open it in binary mode$"):
        check_binary_file(io.StringIO(), method)
    with tempfile.NamedTemporaryFile("w+") as file, pytest.raises(TypeError, match=r"is a text file"):
        check_binary_file(file, method)


async def test_async_files_are_refused(tmp_path: Path) -> None:
    async with await trio.open_file(tmp_path / "x", "wb") as file:
        with pytest.raises(TypeError, match=r"the method write of .* is a coroutine function"):
            check_binary_file(file, "write")


@pytest.mark.parametrize("method", METHODS)
def test_closed_files_are_refused(method: Literal["read", "write"]) -> None:
    file = io.BytesIO()
    file.close()
    with pytest.raises(ValueError, match=r" is closed$"):
        check_binary_file(file, method)


def test_files_that_are_open_the_other_way_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file, pytest.raises(ValueError, match=r" is not open for reading$"):
        check_binary_file(file, "read")
    with (tmp_path / "x").open("rb") as file, pytest.raises(ValueError, match=r" is not open for writing$"):
        check_binary_file(file, "write")
