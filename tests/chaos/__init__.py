"""Restarts, crashes and outages at random, judged by a checker that has tests itself."""
