"""What is asked of PostgreSQL's catalogues, and what names in a query tell; a part of `worker.py`."""

from __future__ import annotations

import re

FUNCTIONS = """
    SELECT DISTINCT proname FROM pg_catalog.pg_proc p WHERE (provolatile = 'v' OR proname LIKE '%\\_to\\_xml%')
    AND prorettype <> ALL ('{trigger,event_trigger,tsm_handler,index_am_handler,table_am_handler}'::regtype[])
    AND (pronamespace = 'pg_catalog'::regnamespace OR EXISTS (SELECT FROM pg_catalog.pg_depend d
         WHERE d.objid = p.oid AND d.classid = 'pg_catalog.pg_proc'::regclass AND d.deptype = 'e'))
"""
#: Volatile functions that do no more than return a value.
HARMLESS = re.compile(
    r"clock_timestamp|timeofday|random|random_normal|gen_random_uuid|uuidv[47]|uuid_generate_\w+"
)
#: Catalogues with passwords, which a role that may read all data may read.
SECRET = frozenset(("pg_authid", "pg_shadow", "pg_subscription", "pg_user_mapping", "pg_user_mappings"))
WORD = re.compile(r"[a-z_\x80-\uffff][\w$]*")
ESCAPED_NAME = re.compile(r"u&\"", re.IGNORECASE)
RANDOM = re.compile(
    r"\b(?:random|random_normal|gen_random_uuid|uuidv[47]|uuid_generate_\w+)\s*\(|\btablesample\b(?!.*\brepeatable\b)",
    re.IGNORECASE | re.DOTALL,
)
#: Functions of nothing that say how it stands with the server, a transaction or a session: it may never be so again.
STATE = """
    SELECT DISTINCT proname FROM pg_catalog.pg_proc WHERE provolatile <> 'i' AND pronargs = 0 AND prokind = 'f'
    AND pronamespace = 'pg_catalog'::regnamespace
    AND prorettype <> ALL ('{trigger,event_trigger,tsm_handler,index_am_handler,table_am_handler}'::regtype[])
    AND proname <> ALL ('{current_user,session_user,user,current_database,current_schema,version,pg_client_encoding,
        getdatabaseencoding,now,transaction_timestamp,statement_timestamp,clock_timestamp,timeofday}')
"""
#: Of something, or tables: statistics, transactions and snapshots.
MOVING = re.compile(r"\b(?:pg_stat|txid_|pg_snapshot|pg_current_|pg_visible_in|pg_xact_)\w*", re.IGNORECASE)
CLOCK = re.compile(
    r"\b(?:current_date|current_time|current_timestamp|localtime|localtimestamp)\b"
    r"|\b(?:now|transaction_timestamp|statement_timestamp|clock_timestamp|timeofday)\s*\(\s*\)"
    r"|\bage\s*\([^(),]*\)",
    re.IGNORECASE,
)
#: A moment where a time is wanted, and a word where text is; how a plan writes text, a word in it, text made a time.
MOMENT = re.compile(r"'(?:now|today|tomorrow|yesterday)'", re.IGNORECASE)
TEXT = re.compile(r"'([^']*)'::(?:text|character varying|bpchar|name|unknown)\b", re.IGNORECASE)
MOMENT_IN_TEXT = re.compile(r"(?:^|[{,])\"?(?:now|today|tomorrow|yesterday)(?=\"?(?:$|[},]))", re.IGNORECASE)
MADE_TIME = re.compile(r"\)::(?:date|time)", re.IGNORECASE)
CALL = re.compile(r"([a-z_\x80-\uffff][\w$]*)\s*\(")
#: What was read: locks are held on every table and view that the query names, until the transaction ends.
READ = """
    SELECT c.relkind, c.relname, CASE WHEN c.relkind = 'v' THEN pg_catalog.pg_get_viewdef(c.oid) END
    FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
    WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND c.relkind IN ('r', 'p', 'm', 'f', 'v')
    AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
"""
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
RIGHTS = """
    SELECT CASE WHEN (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN 'superuser'
    WHEN EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
        AND c.relnamespace <> ALL ('{pg_catalog,information_schema}'::regnamespace[])
        AND pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')) THEN 'write' ELSE 'read' END
"""
