"""The least that aiohttp can do for a POST: read the body, answer 201 with a few bytes of JSON."""

import sys

import uvloop
from aiohttp import web

ANSWER = b'{"type":"notification","id":"1763884800000000","message":"%b"}'


async def publish(request: web.Request) -> web.Response:
    """Read the body and answer; nothing is stored or delivered."""
    body = await request.read()
    return web.Response(body=ANSWER % body, status=201, content_type="application/json")


def main() -> None:
    """Serve until killed."""
    app = web.Application()
    app.add_routes([web.post("/notifications", publish)])
    loop = uvloop.new_event_loop()
    web.run_app(
        app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None, loop=loop
    )


if __name__ == "__main__":
    main()
