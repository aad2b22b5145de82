"""Variables that name services of Kubernetes and look like settings."""

import re
from collections.abc import Mapping

# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_NAME = re.compile(
    r"(AIONOTIFY|MEMCACHED)(_\w+)?"
    r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_URL = re.compile(r"(tcp|udp|sctp)://")


def without_services(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables without those that Kubernetes sets for services.

    For a service called `aionotify` it sets `AIONOTIFY_PORT=tcp://10.96.0.10:8000` and six more in
    every container of the namespace, unless `enableServiceLinks` is false. Docker's links did it
    first, with the same names.
    """
    return {name: value for name, value in environ.items() if not _is_service(name, value)}


def _is_service(name: str, value: str) -> bool:
    if name.endswith("_PORT") and _URL.match(value):
        return True
    return _NAME.fullmatch(name) is not None
