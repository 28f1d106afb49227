"""Reading connection strings (DSNs) of PostgreSQL, without psycopg, which may not be installed."""

from __future__ import annotations

import re


def database_in(dsn: str) -> str:
    """Return the database that a connection string names; empty when it names none."""
    url = re.match(r"postgres(?:ql)?://[^/?]*/([^?]+)", dsn) or re.search(r"\bdbname\s*=\s*'?([^\s'&]+)", dsn)
    return url.group(1) if url else ""


def is_dsn(text: str) -> bool:
    """Whether a text says how to reach a PostgreSQL server, rather than naming a database."""
    return text.startswith(("postgresql://", "postgres://")) or re.match(r"\s*\w+\s*=", text) is not None


def without_password(dsn: str) -> str:
    """Return a connection string with its password replaced by `***`, so that it can be shown."""
    dsn = re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", dsn)
    return re.sub(r"(password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)", r"\1***", dsn)
