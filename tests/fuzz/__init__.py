"""Random input against the real process: `python -m tests.fuzz --help`."""
