"""Environment variables for a server under test."""

import os
from pathlib import Path

from tests.support import ROOT, MemcachedProcess, free_port


def with_memcached(memcached: MemcachedProcess, **more: str) -> dict[str, str]:
    """Return the environment of a server that uses `memcached`, and `more` settings."""
    return {"MEMCACHED_HOST": f"127.0.0.1:{memcached.port}", **more}


def without_memcached(**more: str) -> dict[str, str]:
    """Return the environment of a server whose memcached refuses connections."""
    return {"MEMCACHED_HOST": f"127.0.0.1:{free_port()}", **more}


def with_startup_code(folder: Path, source: str, module: str = "sitecustomize") -> dict[str, str]:
    """Return an environment in which Python finds `source` as `module` before any other.

    Python imports `sitecustomize` by itself when it starts, so its source runs first.
    """
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    return {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


def without_uvloop(folder: Path) -> dict[str, str]:
    """Return an environment in which uvloop cannot be imported, as if it were not installed."""
    return with_startup_code(folder, "raise ImportError", module="uvloop")
