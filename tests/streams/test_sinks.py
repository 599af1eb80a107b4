"""Writing to paths and file objects."""

import io
import os
import stat
from pathlib import Path

import pytest

from jchannel._streams.sinks import check_sink, open_sink


class Slow(io.RawIOBase):
    """A raw file that takes three bytes at a time, and then no more."""

    def __init__(self, *, room: int, full: int | None) -> None:
        self.taken = b""
        self._room = room
        self._full = full

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int | None:
        taken = bytes(data)[: min(3, self._room)]  # type: ignore[call-overload]
        self._room -= len(taken)
        self.taken += taken
        return len(taken) or self._full


class Listing:
    """A writer that returns nothing."""

    def __init__(self) -> None:
        self.pieces: list[object] = []

    def write(self, data: bytes, /) -> None:
        self.pieces.append(data)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_path_gets_its_file_at_the_end(tmp_path: Path) -> None:
    sink = open_sink(tmp_path / "x")
    sink.write(b"abc")
    sink.write(b"de")
    assert [name.startswith(".jchannel-") and name.endswith(".part") for name in names(tmp_path)] == [True]
    sink.finish()
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"abcde"
    assert sink.written == 5


def test_a_path_may_be_text(tmp_path: Path) -> None:
    open_sink(str(tmp_path / "x")).finish()
    assert (tmp_path / "x").read_bytes() == b""


def test_what_is_discarded_leaves_what_was_there_before(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")
    sink = open_sink(tmp_path / "x")
    sink.write(b"new")
    sink.discard()
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"


def test_discarding_after_the_end_leaves_the_file(tmp_path: Path) -> None:
    sink = open_sink(tmp_path / "x")
    sink.finish()
    sink.discard()
    assert names(tmp_path) == ["x"]


def test_a_file_that_is_replaced_hands_its_permissions_on(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    (tmp_path / "x").chmod(0o640)
    open_sink(tmp_path / "x").finish()
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "x")
    sink = open_sink(tmp_path / "link")
    sink.write(b"abc")
    sink.finish()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "x").read_bytes() == b"abc"


def test_a_device_is_written_to_and_not_replaced() -> None:
    for end in ("finish", "discard"):
        sink = open_sink(os.devnull)
        assert sink.open is not None
        sink.open()
        sink.write(b"abc")
        getattr(sink, end)()
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


@pytest.mark.parametrize(("name", "error"), [(".", IsADirectoryError), ("missing/x", FileNotFoundError)])
def test_a_path_that_cannot_be_written_is_named_as_it_was_given(
    name: str, error: type[OSError], tmp_path: Path
) -> None:
    with pytest.raises(error) as caught:  # noqa: PT012 (a device, for which a folder is taken, is opened later)
        sink = open_sink(tmp_path / name)
        assert sink.open is not None
        sink.open()
    assert caught.value.filename == str(tmp_path / name)
    assert names(tmp_path) == []


def test_a_device_that_was_not_opened_needs_no_closing() -> None:
    open_sink(os.devnull).discard()


def test_only_a_file_on_a_disk_is_known_to_make_nobody_wait(tmp_path: Path) -> None:
    sinks = [open_sink(tmp_path / "x"), open_sink(os.devnull), open_sink(io.BytesIO())]
    assert [sink.waits for sink in sinks] == [False, True, True]
    sinks[0].discard()


def test_a_file_object_is_left_open() -> None:
    file = io.BytesIO()
    sink = open_sink(file)
    sink.write(b"abc")
    sink.finish()
    sink.discard()
    assert file.getvalue() == b"abc"
    assert sink.written == 3


def test_a_file_that_takes_little_at_a_time_gets_everything() -> None:
    file = Slow(room=100, full=None)
    open_sink(file).write(b"abcdefgh")
    assert file.taken == b"abcdefgh"


@pytest.mark.parametrize("full", [None, 0])
def test_a_file_that_takes_no_more_is_an_error(full: int | None) -> None:
    file = Slow(room=7, full=full)
    sink = open_sink(file)
    with pytest.raises(BlockingIOError, match=r"accepts no more bytes now: use a file that blocks$"):
        sink.write(b"abcdefgh")
    assert sink.written == 7


def test_a_writer_that_returns_nothing_has_written_everything() -> None:
    listing = Listing()
    sink = open_sink(listing)
    sink.write(b"abc")
    assert listing.pieces == [b"abc"]
    assert sink.written == 3


@pytest.mark.parametrize("target", ["x", Path("x"), io.BytesIO(), Listing()])
def test_paths_and_binary_files_are_taken(target: object) -> None:
    check_sink(target)


@pytest.mark.parametrize("target", [None, 3, b"x", [], io.StringIO()])
def test_anything_else_is_refused(target: object) -> None:
    with pytest.raises(TypeError, match=r"^a stream is "):
        check_sink(target)
