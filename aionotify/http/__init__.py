"""The part of HTTP that endpoints share, and everything that depends on aiohttp's internals."""
