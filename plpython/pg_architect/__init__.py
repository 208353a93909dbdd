"""pg_architect: an autonomous database architect that lives inside PostgreSQL.

Importing the package loads no third-party module: server backends pay for those when they use them.
"""
