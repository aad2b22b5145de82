"""The JavaScript client reads server-sent events (WHATWG HTML §9.2.6), however they are split."""

import json

import pytest

from tests.support import running_server
from tests.support.client_page import OtherSite
from tests.support.environment import without_memcached

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAKE_FETCH = """([stream, size]) => {
  window.fetch = async () => {
    window.fetch = () => new Promise(() => {});  // the attempt after the end of the stream
    const start = (controller) => {
      for (let at = 0; at < stream.length; at += size) {
        controller.enqueue(new Uint8Array(stream.slice(at, at + size)));
      }
      controller.close();
    };
    const headers = { "Content-Type": "text/event-stream; charset=utf-8" };
    return new Response(new ReadableStream({ start }), { headers });
  };
}"""
"""In place of the network, which does not keep the boundaries of chunks."""


def data(message: str, id: int) -> str:
    notification = {"type": "notification", "id": f"{id}", "message": message}
    return json.dumps(notification, ensure_ascii=False)


STREAM = "".join(
    (
        "\ufeff",  # a byte order mark
        f"data: {data('after a mark', 1)}\n\n",
        ":\n: a comment\r:\r\n",
        f"id: 2\nevent: x\ndata: {data('LF é € 😀', 2)}\n\n",
        f"id: 3\rdata: {data('CR', 3)}\r\r",
        f"id: 4\r\ndata: {data('CRLF', 4)}\r\n\r\n",
        f"data:{data('no space', 5)}\r\n\n",
        "data: {\r\ndata\ndata:\rdata: " + data("several lines", 6)[1:] + "\n\r\n",
        "retry: 5\n\n\n\r\r",
        "database: x\ndata : x\n data: x\nDATA: x\n\n",
        f"data: {data('after all that', 7)}\n\n",
        f"data: {data('incomplete', 8)}\n",
    )
)

MESSAGES = [
    "after a mark",
    "LF é € 😀",
    "CR",
    "CRLF",
    "no space",
    "several lines",
    "after all that",
]


async def test_events_are_parsed_however_split(site: OtherSite) -> None:
    environment = without_memcached(AIONOTIFY_ALLOWED_ORIGINS=site.origin)
    stream = list(STREAM.encode())
    async with running_server(environment) as server, site.page() as page:
        for size in (1, 2, 3, 5, 16, 64, len(stream)):
            await page.read("messages.length = states.length = 0")
            await page.page.evaluate(FAKE_FETCH, [stream, size])
            await page.start(server.url, transport="events")
            await page.wait_for_state("waiting")
            assert await page.read("messages") == MESSAGES, size
            assert await page.read("subscription.position") == "7"
            await page.read("subscription.close()")
