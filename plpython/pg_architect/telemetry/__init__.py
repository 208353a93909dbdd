"""The query store: statements with their cumulative statistics, typical parameters, and plans."""
