"""Header fields that hold a list."""

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from aionotify.access.headers import list_header

ELEMENTS = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("lines", "elements"),
    [
        ([], []),
        ([""], []),
        (["a"], ["a"]),
        (["a,b"], ["a", "b"]),
        ([" a , ,b,, "], ["a", "b"]),
        (["a,b", "c"], ["a", "b", "c"]),
        (["", "a"], ["a"]),
    ],
)
def test_list_header(lines: list[str], elements: list[str]) -> None:
    headers = CIMultiDict([("X-List", line) for line in lines])
    assert list_header(make_mocked_request("GET", "/", headers=headers), "x-list") == elements


@given(lines=st.lists(st.lists(ELEMENTS, max_size=4), max_size=4))
def test_lines_are_joined_in_order(lines: list[list[str]]) -> None:
    headers = CIMultiDict([("X-List", ", ".join(line)) for line in lines])
    request = make_mocked_request("GET", "/", headers=headers)
    assert list_header(request, "X-List") == [each for line in lines for each in line]
