"""The inputs that a fuzz run starts from: HTTP requests, and WebSocket frames."""

import gzip

from tests.support.raw_client import handshake

PATHS = ("/ws", "/ws?client=admin&topic=fuzz", "/ws?client=admin&topic=fuzz&format=json")
"""Where fuzzed WebSocket connections are opened."""

_BOMB = gzip.compress(b"\0" * 50_000_000)
"""49 kB that unpack to 50 MB."""


def post(body: bytes, *headers: bytes) -> bytes:
    """Return a request that publishes `body` to a topic without the healthy client."""
    head = [b"POST /notifications?topic=fuzz HTTP/1.1", b"Host: localhost", *headers]
    return b"\r\n".join([*head, b"Content-Length: %d" % len(body), b"", body])


JSON_BODY = b"Content-Type: application/json"
LINES_BODY = b"Content-Type: application/x-ndjson"
CHUNKED = (
    b"POST /notifications?topic=fuzz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
)

HTTP = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"HEAD /health HTTP/1.0\r\n\r\n",
    b"GET /messages?topic=fuzz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3,
    b"GET /notifications?since=" + b"9" * 8000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /notifications?since=" + b"9" * 1_000_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /notifications?" + b"a=1&" * 1900 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /notifications?topic=%ff%00%ed%a0%80&since=-1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /events?topic=fuzz HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: \xff\r\n\r\nmore",
    b"GET /%2e%2e/%2F/etc/passwd?token=%ed%a0%80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://[::1/ HTTP/1.1\r\nHost: [::1\r\nOrigin: http://[::1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"x: y\r\n" * 5000 + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: " + b"a=b;" * 100_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"OPTIONS /events HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:3000\r\n"
    b"Access-Control-Request-Method: GET\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"CONNECT \r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    handshake(),
    handshake().replace(b"13", b"8"),
    handshake("/ws?client=admin").replace(b"dGhl", b"\xff\xff"),
    handshake().replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello"),
    handshake().replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello"),
    post(b"Hello"),
    post(b"\xff\xfe"),
    post(b"Hello", b"Expect: 100-continue"),
    post(b"Hello", b"Expect: nothing"),
    post(b"Hello", b"Content-Type: \xff; charset=\x80"),
    post(b"Hello", b"Content-Type: multipart/form-data"),
    post(b'{"message":"Hello"}', JSON_BODY),
    post(b'{"message":"\\ud800"}', JSON_BODY),
    post(b'{"message":' + b"[" * 100_000, JSON_BODY),
    post(b'{"message":' + b'{"a":' * 50_000, JSON_BODY),
    post(b'{"message":' + b"9" * 300_000 + b"}", JSON_BODY),
    post(b'{"message":1e999999,"x":NaN}', JSON_BODY),
    post(b'{"message":"Hello","title":"T","url":"/x","tag":"t","data":{"a":[null]}}', JSON_BODY),
    post(b'{"message":"Hello","url":"java\\tscript:x","data":1e999}', JSON_BODY),
    post(b'{"message":"Hello","data":' + b"[" * 900 + b"]" * 900 + b"}", JSON_BODY),
    post(b'{"message":"Hello","data":' + b"[1,{}]," * 9000 + b"0}", JSON_BODY),
    post(b'{"topic":"fuzz","message":"a"}\r\n\n{"message":"b","title":"T"}', LINES_BODY),
    post(b'{"topic":"fuzz","message":"a"}\n{"message":', LINES_BODY),
    post(b'{"topic":"fuzz","message":"a"}\n' * 1000, LINES_BODY),
    post(b"\n" * 1_000_000, LINES_BODY),
    post(b"Hello").replace(b"topic=fuzz", b"topic=fuzz,fuzz.2,fuzz"),
    post(b"Hello").replace(b"topic=fuzz", b"topic=fuzz," + b"," * 10_000),
    post(b"Hello", b'Idempotency-Key: "a \\"b\\" \\\\"') * 2,
    post(b"Hello", b"Idempotency-Key: k") + post(b"Bye", b"Idempotency-Key: k"),
    post(b"Hello", b"Idempotency-Key: \xff", b"Idempotency-Key: b"),
    post(b"x" * 2_000_000),
    post(_BOMB, b"Content-Encoding: gzip"),
    post(_BOMB[:1000], b"Content-Encoding: deflate"),
    post(b"no gzip at all", b"Content-Encoding: gzip"),
    post(b"no brotli at all", b"Content-Encoding: br"),
    post(b"no zstd at all", b"Content-Encoding: zstd"),
    CHUNKED + b"\r\n5\r\nHello\r\n0\r\n\r\n",
    CHUNKED + b"\r\n" + b"1\r\nx\r\n" * 20_000,
    CHUNKED + b"\r\nffffffffffffffff\r\nHello",
    CHUNKED + b"\r\nzz\r\nHello",
    CHUNKED + b"\r\n5;" + b"x" * 100_000 + b"\r\nHello\r\n0\r\n\r\n",
    CHUNKED + b"Content-Length: 5\r\n\r\n5\r\nHello\r\n0\r\n\r\n",
    CHUNKED + b"Content-Encoding: gzip\r\n\r\n5\r\nHello\r\n0\r\n\r\n",
)


def frame(first: int, payload: bytes = b"", *, mask: bool = True, length: int = -1) -> bytes:
    """Return a client's frame with any first byte, and any declared length (RFC 6455 §5.2)."""
    declared = len(payload) if length < 0 else length
    size = declared if declared < 126 else 126 if declared < 65536 else 127
    extra = {126: 2, 127: 8}.get(size, 0)
    head = bytes((first, size | 0x80 * mask)) + (declared.to_bytes(extra, "big") if extra else b"")
    key = b"\x37\xfa\x21\x3d" if mask else b""
    masked = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload)) if mask else payload
    return head + key + masked


FRAMES = (
    frame(0x81, b"Hello"),
    frame(0x81, b"admin:Hello"),
    frame(0x81, b'{"message":"Hello"}'),
    frame(0x81, b'{"message":"\\ud800"}'),
    frame(0x81, b'{"message":"Hello","title":"T","url":"//x","tag":"t","data":[1e999]}'),
    frame(0x81, b'{"message":"Hello","key":"k"}') + frame(0x81, b'{"message":"Bye","key":"k"}'),
    frame(0x81, b"[" * 60_000),
    frame(0x81, b" " * 65_536),
    frame(0x81, b"x" * 70_000),
    frame(0x81, b"\xff\xfe"),
    frame(0x81, b"\xed\xa0\x80"),
    frame(0x81, mask=False),
    frame(0x82, b"binary"),
    frame(0xC1, b"compressed"),
    frame(0xF1, b"reserved"),
    frame(0x83, b"no opcode"),
    frame(0x01, b"admin:a") + frame(0x00, b"b") + frame(0x80, b"c"),
    frame(0x01, b"a") + frame(0x81, b"b"),
    frame(0x80, b"a continuation of nothing"),
    frame(0x01, b"admin:") + frame(0x00) * 20_000,
    frame(0x01) + frame(0x00, b"x" * 1000) * 80,
    frame(0x01) + (frame(0x00) + frame(0x89)) * 2000,
    frame(0x89, b"ping"),
    frame(0x89, b"p" * 125) * 2000,
    frame(0x89, b"p" * 126),
    frame(0x8A, b"unasked"),
    frame(0x09, b"a fragment of a ping"),
    frame(0x88),
    frame(0x88, b"\x03\xe8bye"),
    frame(0x88, b"\x03"),
    frame(0x88, b"\x03\xee"),
    frame(0x88, b"\x03\xe8\xff"),
    frame(0x81, length=2**63),
    frame(0x81, length=2**64 - 1),
    frame(0x81, b"short", length=1000),
)
