"""The published unit."""

import dataclasses

import pytest

from aionotify.notification import MAIN, Notification


def test_default_topic_is_main() -> None:
    assert Notification(1, 2, "Hello").topic == MAIN == "main"


def test_notification_is_immutable() -> None:
    """Histories, caches and encoded batches share notifications, so none may change one."""
    notification = Notification(1, 2, "Hello", "orders")
    with pytest.raises(dataclasses.FrozenInstanceError):
        notification.message = "Bye"  # type: ignore[misc]
    assert not hasattr(notification, "__dict__")


def test_notifications_compare_by_value() -> None:
    """The cache merges the lists of several servers as sets."""
    notification = Notification(1, 2, "Hello", "orders")
    assert {notification, dataclasses.replace(notification)} == {notification}
    assert notification != dataclasses.replace(notification, topic="main")


def test_fields_make_no_other_notification() -> None:
    """A server of an earlier version stores the same notification again without them."""
    notification = Notification(1, 2, "Hello", "orders", b',"tag":"t"')
    assert {notification, Notification(1, 2, "Hello", "orders")} == {notification}


def test_size_counts_message_and_fields() -> None:
    assert Notification(1, 2, "é", fields=b',"tag":"t"').size == 12
    assert Notification(1, 2, "é").size == 2
