"""The server's performance beside that of its alternatives: `python -m tests.bench --help`."""
