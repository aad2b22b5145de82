"""Files that are generated from the code: `python -m tests.generate` writes them."""

from pathlib import Path

from tests.generate import docs_page


def generated() -> dict[Path, str]:
    """Return the text of every generated file."""
    return docs_page.files()
