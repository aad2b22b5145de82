"""The names that the package exports."""

import aionotify
from aionotify.app import create_app
from aionotify.settings import Settings


def test_package_exports_its_interface() -> None:
    assert sorted(aionotify.__all__) == ["Settings", "__version__", "create_app"]
    assert aionotify.create_app is create_app
    assert aionotify.Settings is Settings
