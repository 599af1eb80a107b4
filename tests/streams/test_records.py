"""Cutting a byte stream into records, with chunks of any size."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jchannel._streams.records import (
    LimitSplitter,
    LineDecoder,
    RecordTooLongError,
    SeparatorSplitter,
    Splitter,
    check_limit,
    check_record_limit,
    encode_separator,
)

# A small alphabet, so that separators are found, overlap themselves and are split between chunks.
chunkings = st.lists(st.lists(st.sampled_from(b"ab\n\r"), min_size=1, max_size=12).map(bytes), max_size=12)
separators = st.one_of(st.just(b"\n"), st.lists(st.sampled_from(b"ab\n"), min_size=1, max_size=4).map(bytes))


def cut(splitter: Splitter, chunks: Sequence[bytes]) -> list[bytes]:
    """All records, up to the failure if there is one."""
    records = []
    for chunk in chunks:
        records += splitter.feed(chunk)
        if splitter.failure is not None:
            return records
    return records + splitter.end()


def separated(data: bytes, separator: bytes) -> list[bytes]:
    """The records as bytes.split finds them."""
    *pieces, last = data.split(separator)
    return [piece + separator for piece in pieces] + ([last] if last else [])


@given(chunkings, st.integers(1, 20))
def test_records_by_limit_are_slices(chunks: list[bytes], limit: int) -> None:
    data = b"".join(chunks)
    assert cut(LimitSplitter(limit), chunks) == [data[i : i + limit] for i in range(0, len(data), limit)]


@given(chunkings, separators)
def test_records_by_separator_are_what_split_finds(chunks: list[bytes], separator: bytes) -> None:
    assert cut(SeparatorSplitter(separator, None), chunks) == separated(b"".join(chunks), separator)


@given(chunkings, separators, st.integers(1, 20))
def test_a_record_beyond_the_limit_ends_the_splitting_however_the_chunks_are_cut(
    chunks: list[bytes], separator: bytes, limit: int
) -> None:
    expected = separated(b"".join(chunks), separator)
    too_long = [place for place, record in enumerate(expected) if len(record) > limit]
    splitter = SeparatorSplitter(separator, limit)
    records = cut(splitter, chunks)
    if too_long:
        assert records == expected[: too_long[0]]
        assert isinstance(splitter.failure, RecordTooLongError)
    else:
        assert records == expected
        assert splitter.failure is None


@given(chunkings, separators, st.none() | st.integers(1, 20))
def test_the_rest_is_what_no_record_has_taken(chunks: list[bytes], separator: bytes, limit: int | None) -> None:
    for splitter in (SeparatorSplitter(separator, limit), LimitSplitter(3)):
        fed = b""
        given_out = b""
        for chunk in chunks:
            fed += chunk
            given_out += b"".join(splitter.feed(chunk))
            if splitter.failure is not None:
                break
        assert given_out + splitter.take_rest() == fed
        assert splitter.failure is None
        assert splitter.end() == []


def test_a_record_that_is_too_long_is_named_with_its_length() -> None:
    splitter = SeparatorSplitter(b";", 1_000)
    assert splitter.feed(b"a;" + 1_200 * b"b" + b";c;") == [b"a;"]
    assert str(splitter.failure) == (
        "a record of the stream is longer than the limit of 1,000 bytes: 1,201 bytes with its separator. "
        "The stream has been stopped. If the separator is right, pass a greater limit, or limit=None; "
        "by_limit reads without a separator"
    )


def test_a_record_that_has_grown_too_long_is_named_with_its_length_so_far() -> None:
    splitter = SeparatorSplitter(b";", 1_000)
    assert splitter.feed(999 * b"a") == []
    assert splitter.failure is None
    assert splitter.feed(200 * b"a") == []
    assert ": 1,199 bytes so far and no separator yet. " in str(splitter.failure)


@pytest.mark.parametrize("limit", [True, "8192", 1.0, None])
def test_the_size_of_records_must_be_an_int(limit: object) -> None:
    with pytest.raises(TypeError, match=r"^limit must be a number of bytes as int, and not "):
        check_limit(limit)  # type: ignore[arg-type]


@pytest.mark.parametrize("limit", [0, -1])
def test_the_size_of_records_must_be_positive(limit: int) -> None:
    with pytest.raises(ValueError, match=f"^limit must be at least 1 byte, and it is {limit}$"):
        check_limit(limit)


def test_the_limit_on_records_may_be_none() -> None:
    assert check_record_limit(None) is None
    assert check_record_limit(5) == 5
    with pytest.raises(TypeError):
        check_record_limit("5")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        check_record_limit(0)


def test_a_separator_is_bytes_or_text_as_utf8() -> None:
    assert encode_separator("ß") == b"\xc3\x9f"
    assert encode_separator(b"\xff") == b"\xff"


@pytest.mark.parametrize("separator", [True, None, 10, bytearray(b"a")])
def test_a_separator_of_another_type_is_refused(separator: object) -> None:
    with pytest.raises(TypeError, match=r"^separator must be str or bytes, and not "):
        encode_separator(separator)  # type: ignore[arg-type]


@pytest.mark.parametrize("separator", ["", b""])
def test_an_empty_separator_is_refused(separator: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"^separator must not be empty"):
        encode_separator(separator)


@given(st.text(st.sampled_from("a\r\nß\u2028\x85"), max_size=20))
def test_lines_are_decoded_without_their_ends(text: str) -> None:
    records = cut(SeparatorSplitter(b"\n", None), [text.encode()] if text else [])
    *lines, last = text.split("\n")
    # The last one has no line end, so that a carriage return there is a character like any other.
    expected = [line.removesuffix("\r") for line in lines] + ([last] if last else [])
    assert LineDecoder("utf-8", "strict").decode(records) == expected


def test_lines_before_one_that_cannot_be_decoded_are_returned() -> None:
    decoder = LineDecoder("utf-8", "strict")
    records = [b"a\n", b"b\n", b"\xff\n", b"c\n"]
    assert decoder.decode(records) == ["a", "b"]
    with pytest.raises(UnicodeDecodeError, match="0xff"):
        decoder.decode(records[2:])


def test_bytes_that_the_encoding_does_not_know_are_handled_as_asked() -> None:
    assert LineDecoder("ascii", "replace").decode([b"a\xff\r\n"]) == ["a\ufffd"]


def test_the_mark_before_the_first_line_is_left_out() -> None:
    decoder = LineDecoder("utf-8-sig", "strict")
    assert decoder.decode([]) == []
    assert decoder.decode([b"\xef\xbb\xbfa\n", b"\xef\xbb\xbfb\n"]) == ["a", "\ufeffb"]
    assert decoder.decode([b"\xef\xbb\xbfc\n"]) == ["\ufeffc"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp037"])
def test_an_encoding_whose_line_feed_is_another_byte_is_refused(encoding: str) -> None:
    with pytest.raises(ValueError, match=rf"^lines cannot be told apart in {encoding}, .* join\(\)"):
        LineDecoder(encoding, "strict")


@pytest.mark.parametrize(("encoding", "errors"), [("utf-9", "strict"), ("base64", "strict"), ("utf-8", "guess")])
def test_an_unknown_encoding_or_way_to_handle_errors_is_refused(encoding: str, errors: str) -> None:
    with pytest.raises(LookupError):
        LineDecoder(encoding, errors)
