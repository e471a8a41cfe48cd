from __future__ import annotations

import binascii
import contextlib
import os
import xmlrpc.client

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.wire.protocol import FaultCode
from fedcore.wire.xmlreader import MAX_ELEMENTS
from fedcore.wire.xmlrpc import (
    BadXml,
    Call,
    CallParser,
    RpcFault,
    encode_call,
    encode_fault,
    encode_response,
    parse_call,
    parse_response,
)

TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\ufffe\uffff"))
SCALARS = st.booleans() | st.integers(-(2**31), 2**31 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXT | st.binary()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT.filter(lambda t: len(t) < 100), inner, max_size=4)
)


def call(inner):
    return f"<?xml version='1.0'?><methodCall><methodName>m</methodName><params><param>{inner}</param></params></methodCall>".encode()


@given(st.lists(VALUES, max_size=4))
def test_call_returns_what_was_encoded(params):
    assert parse_call(encode_call("fedcore.submit", params)) == Call("fedcore.submit", params)


@given(VALUES)
def test_stdlib_reads_our_response(value):
    ours = parse_response(encode_response(value))
    theirs = xmlrpc.client.loads(encode_response(value), use_builtin_types=True)[0][0]
    assert theirs == ours == value


def test_we_read_the_stdlibs_call_with_lines_in_base64():
    blob = os.urandom(100_000)
    body = xmlrpc.client.dumps(("s", 3, {"weights": xmlrpc.client.Binary(blob), "list": [1, 2.5, True]}), "fedcore.submit").encode()
    assert parse_call(body) == Call("fedcore.submit", ["s", 3, {"weights": blob, "list": [1, 2.5, True]}])


def test_base64_goes_out_as_one_line():
    assert binascii.b2a_base64(bytes(1000), newline=False) in encode_response(bytes(1000))


def test_text_xml_cannot_carry_is_replaced():
    assert parse_response(encode_response("a\x00b\r\n\ud800")) == "a\ufffdb\r\n\ufffd"


@pytest.mark.parametrize(
    "value", [pytest.param(v, id=type(v).__name__ + str(v)) for v in (None, 2**31, float("nan"), float("inf"), {1, 2}, [None])]
)
def test_value_xmlrpc_cannot_carry_is_refused(value):
    with pytest.raises((TypeError, ValueError)):
        encode_response(value)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param(FaultCode.NAME_IN_USE, RpcFault(FaultCode.NAME_IN_USE, "no"), id="a code of this version"),
        pytest.param(99, RpcFault(99, "no"), id="a code of a later one"),
    ],
)
def test_fault_raises_what_the_worker_acts_on(code, expected):
    with pytest.raises(RpcFault) as raised:
        parse_response(encode_fault(code, "no"))
    assert (raised.value.code, raised.value.message) == (expected.code, "no")


def test_fault_string_starts_with_its_name():
    with pytest.raises(xmlrpc.client.Fault, match="name_in_use: attempt 2 runs"):
        xmlrpc.client.loads(encode_fault(FaultCode.NAME_IN_USE, "attempt 2 runs"))


BOMB = (
    b"<?xml version='1.0'?><!DOCTYPE b [<!ENTITY a 'aaaaaaaaaa'>"
    + b"".join(b"<!ENTITY %c '&%c;&%c;&%c;&%c;&%c;&%c;'>" % (98 + i, *[97 + i] * 6) for i in range(10))
    + b"]><methodCall><methodName>&k;</methodName></methodCall>"
)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", "not XML", id="nothing"),
        pytest.param(b"<methodCall>", "not XML", id="cut off"),
        pytest.param(b"<methodCall></methodCall>", "incomplete", id="no method"),
        pytest.param(b"<methodResponse><params/></methodResponse>", "expected a methodCall", id="a response"),
        pytest.param(b"<html/>", "unexpected <html>", id="something else"),
        pytest.param(BOMB, "document type", id="billion laughs"),
        pytest.param(b"<!DOCTYPE m SYSTEM 'file:///etc/passwd'><methodCall/>", "document type", id="external DTD"),
        pytest.param(b"<?xml version='1.0' encoding='nonsense'?><methodCall/>", "not XML", id="unknown encoding"),
        pytest.param(call("<value><nil/></value>"), "unexpected <nil>", id="nil"),
        pytest.param(call("<value><i8>1</i8></value>"), "unexpected <i8>", id="i8"),
        pytest.param(call("<value><int>2147483648</int></value>"), "32 bits", id="int too large"),
        pytest.param(call("<value><int>" + "1" * 10_000 + "</int></value>"), "longer than 32", id="int of ten thousand digits"),
        pytest.param(call("<value><int>\u0661</int></value>"), "32 bits", id="digits of another script"),
        pytest.param(call("<value><double>nan</double></value>"), "finite", id="nan"),
        pytest.param(call("<value><double>1e999</double></value>"), "finite", id="overflow to infinity"),
        pytest.param(call("<value><boolean>2</boolean></value>"), "0 or 1", id="boolean"),
        pytest.param(call("<value><base64>abc</base64></value>"), "group of four", id="base64 cut off"),
        pytest.param(call("<value><base64>YQ==YQ==</base64></value>"), "not base64", id="base64 behind padding"),
        pytest.param(call("<value><base64>YW!=</base64></value>"), "not base64", id="not of the alphabet"),
        pytest.param(call("<value>text<int>1</int></value>"), "both text and a type", id="text before a type"),
        pytest.param(call("<value><int>1</int>text</value>"), "text inside <value>", id="text behind a type"),
        pytest.param(call("<value><int>1</int><int>1</int></value>"), "unexpected <int>", id="two types"),
        pytest.param(call("<value><struct><member><name>a</name></member></struct></value>"), "<member> is incomplete", id="no value"),
        pytest.param(
            call("<value><struct>" + "<member><name>a</name><value/></member>" * 2 + "</struct></value>"), "comes twice", id="member twice"
        ),
        pytest.param(call("<value><array><data>" * 20), "nested deeper", id="deep"),
        pytest.param(
            call("<value><array><data>" + "<value><double>1.0</double></value>" * MAX_ELEMENTS + "</data></array></value>"),
            "never as lists",
            id="weights as a list of floats",
        ),
        pytest.param(encode_call("m", []) + b"<more/>", "not XML", id="more behind the end"),
    ],
)
def test_hostile_call_is_refused(body, reason):
    with pytest.raises(BadXml, match=reason):
        parse_call(body)


@settings(max_examples=300)
@given(st.binary(max_size=300) | st.lists(st.sampled_from(
    [b"<methodCall>", b"<methodName>", b"x", b"</methodName>", b"<params>", b"<param>", b"<value>", b"<int>", b"1", b"</int>", b"<struct>",
     b"</value>", b"</param>", b"</params>", b"</methodCall>", b"<?xml version='1.0'?>", b"<!DOCTYPE a>", b"&lt;", b"&x;", b"\xff", b"\x00",
     b"<base64>", b"<![CDATA[", b"]]>", b"<!--", b"<member>", b"<name>", b"<array>", b"<data>", b"\xfe\xff", b"<?xml encoding='utf-16'?>"]
)).map(b"".join))  # fmt: skip
def test_any_bytes_raise_nothing_but_bad_xml(body):
    for parse in (parse_call, parse_response):
        try:
            parse(body)
        except BadXml:
            pass
        except RpcFault:
            assert parse is parse_response


@given(st.binary(max_size=400), st.integers(0, 300))
def test_damaged_call_raises_nothing_but_bad_xml(noise, where):
    good = encode_call("fedcore.submit", ["session", 1, {"weights": bytes(100), "list": [1, 2.5]}])
    with contextlib.suppress(BadXml):
        parse_call(good[:where] + noise + good[where + len(noise) // 2 :])


def test_credential_is_seen_before_the_body_ends():
    body = encode_call("fedcore.submit", ["s3cret", 1, {"weights": bytes(1000)}])
    parser = CallParser()
    parser.feed(body[:120])
    assert parser.credential() is None
    parser.feed(body[120:200])
    credential = parser.credential()
    assert (credential.method, credential.secret) == ("fedcore.submit", "s3cret")
    assert "s3cret" not in repr(credential)


def test_token_is_seen_before_the_struct_ends():
    parser = CallParser()
    parser.feed(encode_call("fedcore.register", [{"token": "t0ken", "client": "x" * 100}])[:-150])
    assert parser.credential().secret == "t0ken"


@pytest.mark.parametrize(
    "hello",
    [pytest.param({"nested": {"token": "x"}}, id="deeper"), pytest.param([{"token": "x"}], id="in a list"), pytest.param({}, id="none")],
)
def test_token_elsewhere_is_none(hello):
    parser = CallParser()
    parser.feed(encode_call("fedcore.register", [hello]))
    assert parser.credential() is None


def test_first_parameter_that_is_no_string_is_no_session():
    parser = CallParser()
    parser.feed(encode_call("fedcore.status", [7]))
    assert parser.credential().secret == ""
