"""The program as a whole: the real process, a real memcached, real clients."""
