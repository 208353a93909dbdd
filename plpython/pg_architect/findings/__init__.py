"""What is wrong: one rule, one file."""
