"""What every domain stands on: the database protocol, errors, settings, numbers."""
