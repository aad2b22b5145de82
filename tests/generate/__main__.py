"""Write all generated files: `python -m tests.generate`."""

from tests.generate import generated

for path, text in generated().items():
    path.write_text(text, encoding="utf-8", newline="\n")
