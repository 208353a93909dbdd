"""The gate's questions to the catalogue, by what earlier statements of a script may change about the answers.

A question that is on no list is about anything that has changed.
"""

from __future__ import annotations

from collections.abc import Mapping

from pg_architect.safety import catalogue_queries, deep_queries, executable_queries, expression_queries, index_queries
from pg_architect.safety import relation_queries as sql
from pg_architect.safety.readers import certain_queries, create_queries, object_queries
from pg_architect.safety.rules import table_too_busy

# Answered alike whatever a script does that is followed: it makes no operators or collations, and functions by name.
UNCHANGED = frozenset(
    {
        catalogue_queries.WIRED_USER_CODE,
        catalogue_queries.ROLE,
        catalogue_queries.FUNCTIONS,
        catalogue_queries.OPERATORS,
        catalogue_queries.COLLATION,
        expression_queries.BUILT_IN_FUNCTION,
        expression_queries.OWN_FUNCTION,
        expression_queries.FUNCTIONS,
        expression_queries.BUILT_IN_CONFIGURATION,
        expression_queries.FUNCTION_CANDIDATES,
        expression_queries.OPERATOR_CANDIDATES,
        expression_queries.CAST,
        expression_queries.KNOWN_TYPE,
        certain_queries.REFERS,
        *expression_queries.SHADOWING.values(),
        create_queries.SHADOWING_FUNCTION,
        create_queries.ADDED_OPCLASS,
        index_queries.OPCLASS,
        object_queries.LITERAL,
        deep_queries.FUNCTION_COLUMNS,
        deep_queries.FUNCTION_SCHEMAS,
    }
)
# The same, unless a parameter is the name of a function that the script makes.
OF_FUNCTIONS = frozenset(
    {
        catalogue_queries.FUNCTIONS,
        expression_queries.BUILT_IN_FUNCTION,
        expression_queries.OWN_FUNCTION,
        expression_queries.FUNCTIONS,
        expression_queries.FUNCTION_CANDIDATES,
        expression_queries.SHADOWING["function"],
        create_queries.SHADOWING_FUNCTION,
        deep_queries.FUNCTION_COLUMNS,
        deep_queries.FUNCTION_SCHEMAS,
    }
)
UNCHANGED_BEGINNINGS = (
    "select pg_catalog.format(",
    "select $1::text::",
)
# Answered by the database unless a parameter is the name or the number of something that changed.
ABOUT_TYPES = frozenset(
    {
        catalogue_queries.TYPE,
        expression_queries.TYPE,
        expression_queries.TYPE_PARTS,
        expression_queries.IS_CHECKED_DOMAIN,
        index_queries.DEFAULT_OPCLASS,
        object_queries.TYPE,
        object_queries.LABELS,
        object_queries.DEFAULT_ORDER,
        object_queries.DOMAIN_CONSTRAINTS,
        sql.BINARY_COERCIBLE,
        sql.TYPE_COLLATION,
    }
)
ABOUT_PARAMETERS = frozenset(
    {
        catalogue_queries.RIGHTS,
        deep_queries.COLUMN_TYPES,
        deep_queries.POLICIES,
        deep_queries.RELATION,
        deep_queries.STORED_QUERY,
        deep_queries.USES,
        create_queries.LIKE_EXPRESSIONS,
        create_queries.LIKE_USES,
        create_queries.VIEW,
        create_queries.RULE_USES,
        object_queries.MOVED_ALONG,
        object_queries.STATISTICS,
        sql.FOREIGN_KEY_PARTNERS,
        sql.HAS_TRIGGER,
    }
)
# The same, and what is known to change about a relation (columns, constraints, indexes) makes no difference.
ABOUT_REST = frozenset(
    {
        object_queries.INDEX,
        object_queries.VIEW,
        object_queries.SEQUENCE,
        sql.PARTITION_BOUND,
        sql.CONSTRAINT_TEXT,
        sql.INDEX_TEXT,
        table_too_busy.IN_THE_WAY,
    }
)
# Of a new table: nothing. One that got partitions is not known well enough to be asked.
NOTHING_IF_NEW = frozenset(
    {
        object_queries.LEAVES,
        object_queries.PARENT,
        sql.PARTITIONS,
        create_queries.USER_MADE_KEY,
        certain_queries.PARTITION_KEY,
        sql.DEFAULT_PARTITION,
        table_too_busy.IN_THE_WAY,
    }
)
ABOUT_DEPENDENTS = frozenset(
    {object_queries.WHOLE, object_queries.DEPENDENTS, sql.COLUMN_DEPENDENTS, certain_queries.COLUMN_FATE}
)
OF_A_COLUMN = frozenset({sql.COLUMN_DEPENDENTS, certain_queries.COLUMN_FATE})


ANYENUM = 3500  # the pseudo-type, for which the operator classes of enumerated types are made
OF_TYPES = frozenset(
    {
        expression_queries.TYPE,
        expression_queries.TYPE_PARTS,
        expression_queries.IS_CHECKED_DOMAIN,
        index_queries.DEFAULT_OPCLASS,
        object_queries.TYPE,
        object_queries.LABELS,
    }
)

# What is known of a relation that is new or changed, by the attribute of overlay.Table that holds it.
FACTS: Mapping[str, str] = {
    sql.RELATION: "row",
    sql.COLUMNS: "columns",
    catalogue_queries.COLUMNS: "columns",
    sql.CONSTRAINTS: "constraints",
    sql.INDEXES: "indexes",
}

# Whose code runs when a table is worked on: statements that are followed bring nothing but built-in code.
OF_STORED_CODE = frozenset(
    {
        catalogue_queries.TABLE,
        catalogue_queries.USER_CODE_OF_TABLE,
        catalogue_queries.USER_CODE_OF_TABLES,
        deep_queries.FAMILY,
    }
)

# Compared by the reader of an index in another way where the answer is not known.
OF_INDEXES = frozenset({executable_queries.COLUMNS, executable_queries.INDEXES, certain_queries.KEYS})
