"""The keys of an application's components."""

from typing import Any

from aiohttp import web

from aionotify import keys
from aionotify.app import create_app


def all_keys() -> dict[str, web.AppKey[Any]]:
    """Return the keys by the names of their constants."""
    return {name: each for name, each in vars(keys).items() if isinstance(each, web.AppKey)}


def test_every_key_has_a_component() -> None:
    app = create_app()
    assert set(app) == set(all_keys().values())
    for name, key in all_keys().items():
        # The broker is one of several implementations.
        assert type(app[key]).__name__.upper().removeprefix("LOCAL") == name


def test_two_applications_share_no_component() -> None:
    first, second = create_app(), create_app()
    assert all(first[key] is not second[key] for key in all_keys().values())
