"""The queries to PostgreSQL's catalogues, and the patterns that tell what a query calls; used by `worker.py`."""

from __future__ import annotations

import re

#: Names of functions that may do more than compute a value: the volatile ones of the server and of its extensions, and
#: those that run text as SQL (`query_to_xml`).
FUNCTIONS = """
    SELECT DISTINCT proname FROM pg_catalog.pg_proc p WHERE (provolatile = 'v' OR proname LIKE '%\\_to\\_xml%')
    AND prorettype <> ALL ('{trigger,event_trigger,tsm_handler,index_am_handler,table_am_handler}'::regtype[])
    AND (pronamespace = 'pg_catalog'::regnamespace OR EXISTS (SELECT FROM pg_catalog.pg_depend d
         WHERE d.objid = p.oid AND d.classid = 'pg_catalog.pg_proc'::regclass AND d.deptype = 'e'))
"""
#: Volatile functions that only return a value, and so are allowed all the same.
HARMLESS = re.compile(
    r"clock_timestamp|timeofday|random|random_normal|gen_random_uuid|uuidv[47]|uuid_generate_\w+"
)
#: Catalogues that hold passwords. A role that may read all data may read them, too.
SECRET = frozenset(("pg_authid", "pg_shadow", "pg_subscription", "pg_user_mapping", "pg_user_mappings"))
WORD = re.compile(r"[a-z_\x80-\uffff][\w$]*")
#: A name written with Unicode escapes, which could hide a forbidden one.
ESCAPED_NAME = re.compile(r"u&\"", re.IGNORECASE)
RANDOM = re.compile(
    r"\b(?:random|random_normal|gen_random_uuid|uuidv[47]|uuid_generate_\w+)\s*\(|\btablesample\b(?!.*\brepeatable\b)",
    re.IGNORECASE | re.DOTALL,
)
#: Names of functions without arguments that report the state of the server, a transaction or a session. Their values
#: may never come again, so a query that calls one counts as random.
STATE = """
    SELECT DISTINCT proname FROM pg_catalog.pg_proc WHERE provolatile <> 'i' AND pronargs = 0 AND prokind = 'f'
    AND pronamespace = 'pg_catalog'::regnamespace
    AND prorettype <> ALL ('{trigger,event_trigger,tsm_handler,index_am_handler,table_am_handler}'::regtype[])
    AND proname <> ALL ('{current_user,session_user,user,current_database,current_schema,version,pg_client_encoding,
        getdatabaseencoding,now,transaction_timestamp,statement_timestamp,clock_timestamp,timeofday}')
"""
#: Functions with arguments, and tables, that report such state: statistics, transactions and snapshots.
MOVING = re.compile(r"\b(?:pg_stat|txid_|pg_snapshot|pg_current_|pg_visible_in|pg_xact_)\w*", re.IGNORECASE)
CLOCK = re.compile(
    r"\b(?:current_date|current_time|current_timestamp|localtime|localtimestamp)\b"
    r"|\b(?:now|transaction_timestamp|statement_timestamp|clock_timestamp|timeofday)\s*\(\s*\)"
    r"|\bage\s*\([^(),]*\)",
    re.IGNORECASE,
)
#: A literal such as 'today': a moment if a time is wanted there, a mere word if text is. The plan of the query tells:
#: TEXT finds a literal that stayed text, MOMENT_IN_TEXT such a word in it, and MADE_TIME a text that becomes a time.
MOMENT = re.compile(r"'(?:now|today|tomorrow|yesterday)'", re.IGNORECASE)
TEXT = re.compile(r"'([^']*)'::(?:text|character varying|bpchar|name|unknown)\b", re.IGNORECASE)
MOMENT_IN_TEXT = re.compile(r"(?:^|[{,])\"?(?:now|today|tomorrow|yesterday)(?=\"?(?:$|[},]))", re.IGNORECASE)
MADE_TIME = re.compile(r"\)::(?:date|time)", re.IGNORECASE)
CALL = re.compile(r"([a-z_\x80-\uffff][\w$]*)\s*\(")
#: The tables and views that a query read: until the transaction ends, it holds a lock on each.
READ = """
    SELECT c.relkind, c.relname, CASE WHEN c.relkind = 'v' THEN pg_catalog.pg_get_viewdef(c.oid) END
    FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
    WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND c.relkind IN ('r', 'p', 'm', 'f', 'v')
    AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
"""
#: Name, columns and keys of each table and view that the role may see.
SCHEMA = """
    SELECT c.oid, CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN c.relname
                  ELSE n.nspname || '.' || c.relname END, c.relkind = 'v',
        (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.attname,
            pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull) ORDER BY a.attnum)
         FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
        (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(k.contype,
            (SELECT pg_catalog.json_agg(a.attname ORDER BY u.place) FROM pg_catalog.unnest(k.conkey)
             WITH ORDINALITY u(number, place) JOIN pg_catalog.pg_attribute a
             ON a.attrelid = k.conrelid AND a.attnum = u.number),
            (SELECT r.relname FROM pg_catalog.pg_class r WHERE r.oid = k.confrelid),
            (SELECT pg_catalog.json_agg(a.attname ORDER BY u.place) FROM pg_catalog.unnest(k.confkey)
             WITH ORDINALITY u(number, place) JOIN pg_catalog.pg_attribute a
             ON a.attrelid = k.confrelid AND a.attnum = u.number)) ORDER BY k.oid)
         FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u', 'f'))
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm', 'f', 'v') AND NOT c.relispartition
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'
    AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') ORDER BY c.oid
"""
#: What the role may do: `superuser`, `write` or `read`.
RIGHTS = """
    SELECT CASE WHEN (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN 'superuser'
    WHEN EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
        AND c.relnamespace <> ALL ('{pg_catalog,information_schema}'::regnamespace[])
        AND pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')) THEN 'write' ELSE 'read' END
"""
