"""What a person may ask of the store in SQL: one query over the tables of the catalogue, nothing else."""

from __future__ import annotations

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from cadenza.errors import ExpressionError, near_miss
from cadenza.sql.tables import BY_NAME

DIALECT = "duckdb"
_FORBIDDEN_FUNCTIONS = {"getenv", "current_setting", "query", "query_table", "nextval"}


def read_only(sql: str, limit: int) -> str:
    """The query, cut to ``limit`` rows. Raises ExpressionError unless it is one SELECT over the catalogue.

    >>> read_only("select count(*) from person", 10)
    'SELECT * FROM (SELECT COUNT(*) FROM person) AS answer LIMIT 10'
    """
    try:
        statements = [s for s in sqlglot.parse(sql, dialect=DIALECT) if s is not None]
    except SqlglotError as error:
        raise ExpressionError(f"the query does not parse: {str(error).splitlines()[0]}") from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise ExpressionError("only one SELECT is allowed here.", remedy="The store changes through the log alone.")
    query = statements[0]
    if any(query.find_all(exp.Into, exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Command)):
        raise ExpressionError("only a SELECT is allowed here.", remedy="The store changes through the log alone.")
    _check_tables(query)
    _check_functions(query)
    return exp.select("*").from_(query.subquery("answer")).limit(limit).sql(dialect=DIALECT)


def _check_tables(query: exp.Query) -> None:
    # Plain names only: a quoted one such as "x.csv" could be shadowed here and read as a file elsewhere.
    named = {cte.alias for cte in query.find_all(exp.CTE) if cte.alias.isidentifier()}
    for table in query.find_all(exp.Table):
        plain = isinstance(table.this, exp.Identifier) and not table.args.get("db")
        if isinstance(table.this, exp.Unnest) or (plain and table.name in named):
            continue
        if not plain or table.name.lower() not in BY_NAME:
            name = table.sql(dialect=DIALECT)
            raise ExpressionError(f"there is no table '{name}'.", remedy=near_miss(table.name, BY_NAME))


def _check_functions(query: exp.Query) -> None:
    for call in query.find_all(exp.Anonymous):
        name = call.name.lower()
        if name in _FORBIDDEN_FUNCTIONS or name.startswith(("read_", "duckdb_", "pragma_", "glob", "sniff_")):
            raise ExpressionError(f"the function '{name}' is not allowed here.")
