"""Putting the client's script into a page, and finding the page's encoding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jchannel._page.markup import find_charset, insert_script

URL = "jchannel/inject.js"
SCRIPT = b'<script src="jchannel/inject.js"></script>'


@pytest.mark.parametrize(
    "page",
    [
        # `%` stands where the script does.
        b"<html><head>%<title>",
        b'<HEAD lang="en">%x',
        b"<head\n>%x",
        b"<head/>%x",
        b"<head data-a='>' data-b=\"<head>\" c = d e= >%x",
        b"<head a=b>%\n<meta>",
        b"<!doctype html>%<p>x",
        b"<!DOCTYPE html>\n%<header>x",
        b"<!doctype html>\n<html lang='>'>\n%<title>x</title>",
        b'<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01//EN" "http://www.w3.org/TR/html4/strict.dtd">\n<html>\n<head>%',
        b"<!-- <head> --><!doctype html><!-- <html><head> -->\n<html><!--><head>%<!-- -->",
        b"<!----><head>%",
        b"<!---><head>%",
        b"<!-- -- > --!><head>%",
        b"<!-- a --><!-- b -->%<p>",
        b'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE html>\n<html xmlns="x"><head>%<title/>',
        b"<![CDATA[ <head> %]]>Text",
        b"</p>%</html",
        b"</p></ head></>%<p>",
        b"%</head>",
        b"%</body>",
        b"%</html>",
        b"%</br>",
        b"%<p>x",
        b"%x",
        b"%&nbsp;",
        b"%<3 <head>",
        b"\n%Hello <head>",
        b"%",
        b" \n%",
        b"<!doctype html>%",
        b"<html>%<body>",
        b"<html>%<body><head>",
        b"<html><html class=x>%<script>'<head>'</script>",
        b"%<header></header><head>",
        b"%<script>if (1) document.write('<head>')</script><head>",
        b"\xef\xbb\xbf<!doctype html><html><head>%",
        b"\xef\xbb\xbf%x",
        b"<!-- \x93quoted\x94 --><head>%\x93",
        # What does not end takes the rest of the page with it.
        b"%<!doctype html",
        b"%<!-- <head>",
        b"%<html lang='<head>",
        b'%<head class="x>y</head>',
        b"<html>%<head",
        b"%</p",
        b"%<",
    ],
)
def test_the_script_stands_at_the_beginning_of_the_head(page: bytes) -> None:
    before, _, after = page.partition(b"%")
    assert insert_script(before + after, URL) == before + SCRIPT + after


@pytest.mark.parametrize(
    ("codec", "mark"), [("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff"), ("utf-8", b"\xef\xbb\xbf")]
)
@pytest.mark.parametrize("comment", ["", "\U0001f600 <head>", "\ud83d", "<"])
def test_in_a_page_with_a_byte_order_mark_the_script_is_in_the_page_s_encoding(
    codec: str, mark: bytes, comment: str
) -> None:
    before = f"<!doctype html><!--{comment}--><html><head>"
    after = "<title>Bücher \U0001f600</title>"
    page = mark + (before + after).encode(codec, "surrogatepass")
    whole = before + '<script src="jchannel/inject.js"></script>' + after
    assert insert_script(page, URL) == mark + whole.encode(codec, "surrogatepass")
    assert find_charset(page) == ("utf-8" if codec == "utf-8" else "utf-16")


def test_half_a_character_at_the_end_of_a_page_stays() -> None:
    page = b"\xff\xfe" + "<head>\ud83d".encode("utf-16-le", "surrogatepass") + b"x"
    assert insert_script(page, URL).replace(SCRIPT.decode().encode("utf-16-le"), b"") == page


@given(st.text() | st.text(alphabet="<>!-/?\"'= \nhtmlead"))
def test_nothing_else_of_a_page_changes(text: str) -> None:
    for codec in ("utf-8", "utf-8-sig", "utf-16"):
        page = text.encode(codec)
        script = SCRIPT if codec != "utf-16" else SCRIPT.decode().encode("utf-16-le")
        assert insert_script(page, URL).replace(script, b"", 1) == page


@pytest.mark.parametrize(
    "page",
    [
        b'<script src="jchannel/inject.js"></script>',
        b'<head><script src="/jchannel/inject.js"></script>',
        b"<head><SCRIPT defer nonce=x SRC=../jchannel/inject.js?v=1 ></SCRIPT>",
        b'<script type=text/javascript src=" https://host/proxy/8889/jchannel/inject.js#x "></script>',
        b"<p>text<script src='jchannel&#47;inject.js'></script><!-- jchannel/inject.js -->",
        b'<script type="module">import * as jchannel from "../jchannel/jchannel.js";</script>',
        b"<script type=module>import {connectPage} from './jchannel/jchannel.js'; connectPage()</script>",
        b"<script type=module>/* client */ import {\n  A,\n  connect as c,\n} from 'jchannel/jchannel.js'</script>",
        b"<script type=module>const {connectPage} = await import(\n'/jchannel/jchannel.js');</script>",
        b"<template></template><script src=jchannel/inject.js></script>",
    ],
)
def test_a_page_that_connects_itself_is_left_as_it_is(page: bytes) -> None:
    assert insert_script(page, URL) == page
    utf_16 = b"\xff\xfe" + page.decode().encode("utf-16-le")
    assert insert_script(utf_16, URL) == utf_16


@pytest.mark.parametrize(
    "page",
    [
        b"<!-- jchannel/inject.js is put in here -->",
        b"<p>See jchannel/inject.js and jchannel/jchannel.js.</p>",
        b"<a href='jchannel/inject.js'>the client</a>",
        b'<script>console.log("jchannel/inject.js");</script>',
        b'<script>"<script src=jchannel/inject.js>"</script>',
        b"<title><script src=jchannel/inject.js></script></title>",
        b"<textarea><script src=jchannel/inject.js></script></textarea>",
        b"<style>/* <script src=jchannel/inject.js></script> */</style>",
        b"<template><template></template><script src=jchannel/inject.js></script></template>",
        b"<plaintext><script src=jchannel/inject.js></script>",
        b"<script><script src=jchannel/inject.js></script",
        b"<script type=text/plain src=jchannel/inject.js></script>",
        b"<script nomodule src=jchannel/inject.js></script>",
        b"<script src=other.js data-src=jchannel/inject.js></script>",
        b"<script src=my-jchannel/inject.js></script>",
        b"<script src=?jchannel/inject.js></script>",
        b"<script src></script>jchannel/inject.js",
        b"<script src=>jchannel/inject.js</script>",
        b"<script type=module src=jchannel/jchannel.js></script>",
        b"<script type=module>// import {connectPage} from './jchannel/jchannel.js'</script>",
        b"<script type=module>/* import {connectPage} from './jchannel/jchannel.js' */</script>",
        b"<script type=module>`import {connectPage} from './jchannel/jchannel.js'`</script>",
        b"<script type=module>\"import {connectPage} from './jchannel/jchannel.js'\"</script>",
        b"<script type=module>import {MetaGenerator} from './jchannel/jchannel.js'</script>",
        b"<script type=module>import './jchannel/jchannel.js'</script>",
        b"<script type=module>import('./main.js')\nconsole.log('./jchannel/jchannel.js')</script>",
        b"<script type=module>import {connectPage} from './my-client.js' // jchannel/jchannel.js</script>",
        b"<link rel=modulepreload href=jchannel/jchannel.js>",
    ],
)
def test_a_page_that_only_mentions_the_client_gets_it(page: bytes) -> None:
    inserted = insert_script(page, URL)
    assert inserted != page
    assert inserted.replace(SCRIPT, b"", 1) == page


def test_a_long_page_without_an_end_takes_no_more_time_than_its_length() -> None:
    # With a search that goes back, each of them would take minutes.
    for piece in (
        b"<html a=",
        b"<!--",
        b"<a b='",
        b"<html a = 'b' ",
        b"<script type=module>'jchannel/jchannel.js'",
        b"<",
    ):
        insert_script(piece * 50_000, URL)
        find_charset(piece * 50_000)


# Encodings


@pytest.mark.parametrize(
    ("page", "charset"),
    [
        (b"", "utf-8"),
        (b"<p>plain", "utf-8"),
        ("<p>Bücher".encode(), "utf-8"),
        ("<p>Bücher".encode("latin-1"), None),
        (b"<meta charset=windows-1252>\xfc", "windows-1252"),
        ("<meta charset=windows-1252>Bücher".encode(), "windows-1252"),
        (b"<!doctype html><html><head><title>x</title><META CharSet=' Shift_JIS '>", "shift_jis"),
        (b'<meta http-equiv="Content-Type" content="text/html; charset=ISO-8859-1">\xfc', "iso-8859-1"),
        (b"<meta content='text/html;charset = \"euc-kr\"' http-equiv=content-type>", "euc-kr"),
        (b"<meta content=\"text/html;charset='koi8-r'\" http-equiv=content-type>", "koi8-r"),
        (b"<meta content='charset=latin1'>", "utf-8"),
        (b"<meta http-equiv=content-type>", "utf-8"),
        (b"<meta http-equiv=content-type content=text/html>", "utf-8"),
        (b"<meta name=viewport><link><base><meta charset=gbk>", "gbk"),
        (b"<meta charset=''><meta charset='no way'><meta charset=big5>", "big5"),
        (b"<meta charset=utf-16>", "utf-8"),
        (b"<meta charset=UTF-16BE>", "utf-8"),
        (b"<meta charset=x-user-defined>", "windows-1252"),
        (b"<!-- <meta charset=latin1> --><p>x", "utf-8"),
        (b"<script>'<meta charset=latin1>'</script>", "utf-8"),
        (b"<body><p>" + b"x" * 500 + b"<meta charset=latin1>", "latin1"),
        (b"<body><p>" + b"x" * 1024 + b"<meta charset=latin1>", "utf-8"),
        (b"<head><!--" + b"x" * 2000 + b"--><meta charset=latin1>", "latin1"),
        (b"<?xml version='1.0' encoding='ISO-8859-2'?><html>\xfc", "iso-8859-2"),
        (b'<?xml version="1.0" encoding="latin1"?><meta charset=gbk>', "gbk"),
        (b'<?xml version="1.0"?><p encoding="latin1">', "utf-8"),
        (b"\xef\xbb\xbf<meta charset=latin1>", "utf-8"),
    ],
)
def test_the_charset_is_that_which_a_browser_finds(page: bytes, charset: str | None) -> None:
    assert find_charset(page) == charset
