"""Parsing, the proof that captured text runs only built-in code, and the gate for generated statements."""
