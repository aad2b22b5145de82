"""How fast it is, next to what people would take instead: `python -m tests.bench --help`."""
