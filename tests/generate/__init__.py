"""Files that are generated from the code: `python -m tests.generate` writes them.

`tests/system/test_generated.py` fails if one of them is out of date.
"""

from pathlib import Path

from tests.generate import docs_page, settings


def generated() -> dict[Path, str]:
    """Return the text of every generated file."""
    return settings.files() | docs_page.files()
