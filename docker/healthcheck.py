"""Exit with status 0 if the server in this container answers, for HEALTHCHECK in the Dockerfile.

With `--connected`, it must be connected to memcached or NATS, too.
It imports neither aionotify nor aiohttp, which take half a second to import, every 5 s.
"""

import http.client
import os
import sys

CONNECTABLE = {"0.0.0.0": "127.0.0.1", "localhost": "127.0.0.1", "::": "::1"}


def main() -> int:
    """Ask for `/health` at the first address that the server listens on."""
    first = os.environ.get("AIONOTIFY_HOST", "").split(",")[0].strip(" []") or "localhost"
    # Docker's links and Kubernetes set AIONOTIFY_PORT=tcp://… for a service of that name, which
    # the server passes over. The other port, if there is one, leads to this very process.
    ports = (os.environ.get(f"AIONOTIFY_{name}PORT", "").strip() for name in ("METRICS_", ""))
    port = next((each for each in ports if each.isdigit()), "8000")
    # Not urllib: it would ask the proxy in `http_proxy`, to which 127.0.0.1 is another machine.
    connection = http.client.HTTPConnection(CONNECTABLE.get(first, first), int(port), timeout=2)
    try:
        connection.request("GET", "/health")
        response = connection.getresponse()
        connected = b'"cache_status":"connected"' in response.read()
        return 0 if response.status == 200 and (connected or "--connected" not in sys.argv) else 1
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer: {error}")  # `docker inspect` shows it
        return 1


if __name__ == "__main__":
    sys.exit(main())
