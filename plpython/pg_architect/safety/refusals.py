"""Why a statement is refused before any rule is asked: it is not understood, or reaches where nothing may."""

from __future__ import annotations

from collections.abc import Mapping

from pg_architect.safety.judgement import NEEDS_APPROVAL, NOTE, REFUSE

# Rule: (title, what to do, rules of other tools that ask the same).
REFUSALS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "one-statement": (
        "The text is not exactly one statement",
        "Give one statement at a time.",
        ("squawk: syntax-error",),
    ),
    "server-syntax": (
        "This server does not understand it",
        "Write it for this server's version.",
        (),
    ),
    "written-back": (
        "It cannot be written back with the same meaning",
        "Write it more plainly.",
        (),
    ),
    "judging-failed": (
        "It could not be judged",
        "Please report it: the gate has a gap here.",
        (),
    ),
    "not-understood": (
        "It is not understood",
        "A person has to judge it.",
        (
            "strong_migrations: change_column_null",
            "strong_migrations: backfilling (README only)",
        ),
    ),
    "names": (
        "A name is too long, escaped, or of another database",
        "Write the name plainly, in at most 63 bytes.",
        ("squawk: identifier-too-long", "pgsafe: identifier-too-long"),
    ),
    "exists": (
        "What it names does not exist, or is ambiguous",
        "Name it with its schema.",
        (
            "squawk: require-table-schema",
            "pgsafe: require-schema-qualified",
        ),
    ),
    "name-taken": (
        "The new name is taken",
        "Choose another name.",
        (),
    ),
    "object-kind": (
        "The object is of another kind",
        "Name an object of the right kind.",
        (),
    ),
    "certain-to-fail": (
        "The server would refuse it",
        "Mend what the reason says.",
        (
            "squawk: ban-duplicate-column-assignments",
            "strong_migrations: remove_invalid_indexes",
            "atlas: PG108",
        ),
    ),
    "cascade": (
        "CASCADE drops more than is named",
        "Drop the dependent objects one by one.",
        (
            "squawk: ban-truncate-cascade",
            "strong_migrations: create_table",
            "pgsafe: truncate",
            "django-pg-zero-downtime-migrations: EXPLICIT_CONSTRAINTS_DROP",
        ),
    ),
    "if-not-exists-hides": (
        "IF NOT EXISTS would hide an invalid or other object",
        "Drop what is there, then create it without IF NOT EXISTS.",
        (
            "strong_migrations: remove_invalid_indexes",
            "django-pg-zero-downtime-migrations: IDEMPOTENT_SQL",
        ),
    ),
    "duplicate-index": (
        "The table has the same index already",
        "Use the index that is there.",
        (),
    ),
    "concurrent-partitioned": (
        "A partitioned table has no concurrent build",
        "Create it on only the parent, concurrently on each partition, and attach those.",
        (),
    ),
    "foreign-code": (
        "It may run code that is not built in",
        "Use built-in functions, operators and types, or SQL functions with a parsed body of those.",
        ("pgsafe: unchecked-do-block",),
    ),
    "shadowed": (
        "A built-in name may mean a user's object",
        "Write pg_catalog's name with its schema.",
        (),
    ),
    "own-object": (
        "It reaches into pg_architect",
        "Use the functions of schema architect.",
        (),
    ),
    "system-object": (
        "It reaches into the system",
        "Nothing of the system is changed by hand.",
        (),
    ),
    "extension-member": (
        "It reaches into an extension",
        "Change the extension by its own scripts.",
        (),
    ),
    "temporary-object": (
        "It is about temporary objects",
        "They belong to one session and need no judge.",
        (),
    ),
    "privileges-changed": (
        "It changes who owns or may do what",
        "A person grants rights.",
        (),
    ),
    "row-security-changed": (
        "It changes who sees which rows",
        "A person changes row-level security.",
        (),
    ),
    "trigger-or-rule-changed": (
        "It switches triggers or rules",
        "A person decides on code that others rely on.",
        (
            "atlas: PG308",
            "pgsafe: add-trigger",
        ),
    ),
}

# Rules about names, and about the place in a script: (title, strictest level, how it decides, what to do, peers).
SCRIPT_RULES: Mapping[str, tuple[str, str, str, str, tuple[str, ...]]] = {
    "concurrent-in-transaction": (
        "What commits by itself stands in a transaction",
        REFUSE,
        "Concurrent builds, VACUUM and the like fail inside BEGIN and COMMIT, or in a script that is one transaction.",
        "Run it outside a transaction, in a script of its own if need be.",
        (
            "squawk: ban-concurrent-index-creation-in-transaction",
            "atlas: PG103",
            "atlas: TX101",
            "pgsafe: concurrently-in-transaction",
        ),
    ),
    "depends-on-earlier-statement": (
        "It depends on what an earlier statement makes",
        NEEDS_APPROVAL,
        "What has to be known of an object that the script itself made or changed is not known without executing it.",
        "Judge it again when the earlier statements are applied.",
        (),
    ),
    "enum-in-transaction": (
        "A new enumerated value is used before it is committed",
        NEEDS_APPROVAL,
        "ALTER TYPE ADD VALUE can be used only after its transaction has ended.",
        "Commit after alter type add value, then use the value.",
        ("pgsafe: enum-value-used-in-transaction",),
    ),
    "nested-transaction-control": (
        "BEGIN and COMMIT do not match",
        REFUSE,
        "BEGIN in a transaction, COMMIT outside of one; ROLLBACK and savepoints, whose effects are not followed.",
        "One begin and one commit around each group of statements.",
        ("squawk: transaction-nesting", "atlas: TX201"),
    ),
    "not-in-transaction": (
        "SET LOCAL outside a transaction",
        NOTE,
        "SET LOCAL lasts until the end of its transaction, which here is its own.",
        "Write it after BEGIN, or without LOCAL.",
        (),
    ),
    "schema": (
        "A name has no schema",
        NOTE,
        "The reason says which object is meant by the search_path that the role has by configuration.",
        "Name the schema.",
        ("squawk: require-table-schema", "pgsafe: require-schema-qualified"),
    ),
    "script": (
        "The script cannot be read",
        REFUSE,
        "It is too long, has too many statements, or is cut in the middle of a string or comment.",
        "Give a script of at most 1,000 statements and 1 MB.",
        (),
    ),
    "several-locks-in-transaction": (
        "One table is locked while another is worked on",
        NEEDS_APPROVAL,
        "Locks last to the end of the transaction: writers of the first table wait while the second is read or built.",
        "One table at a time, each in its own transaction.",
        ("strong_migrations: backfilling (README only)", "eugene: E4"),
    ),
    "uncommitted-transaction": (
        "No COMMIT follows",
        REFUSE,
        "A transaction that the script opens and does not end is rolled back with the session.",
        "Write commit at the end.",
        ("squawk: ban-uncommitted-transaction",),
    ),
    "validate-in-same-transaction": (
        "NOT VALID and VALIDATE in one transaction",
        NEEDS_APPROVAL,
        "The strong lock of ADD CONSTRAINT is held while VALIDATE reads the table.",
        "Commit after add constraint not valid, then validate.",
        (
            "squawk: constraint-missing-not-valid",
            "strong_migrations: validate_foreign_key",
            "strong_migrations: validate_check_constraint",
        ),
    ),
}
