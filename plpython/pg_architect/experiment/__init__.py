"""Measured effects: replay with the A/B switch, write counters, statistics and the verdict."""
