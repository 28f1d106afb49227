"""Writing a SQLite database that is in memory as the bytes of a database file, on Python 3.10 too."""

from __future__ import annotations

import sqlite3
import sys


def serialised(raw: sqlite3.Connection) -> bytes:
    """Return the bytes of the file that a database in memory would be; empty when SQLite cannot make them."""
    if sys.version_info >= (3, 11):
        return raw.serialize()
    import _sqlite3
    import ctypes

    # Python 3.10 has no `serialize`, but the C function is there. In memory, a connection object holds its SQLite
    # handle right after the header that every Python object has.
    library = ctypes.CDLL(_sqlite3.__file__)
    library.sqlite3_serialize.restype = ctypes.c_void_p
    library.sqlite3_free.argtypes = [ctypes.c_void_p]
    handle = ctypes.c_void_p.from_address(id(raw) + object.__basicsize__)
    size = ctypes.c_int64()
    found = library.sqlite3_serialize(handle, b"main", ctypes.byref(size), 0)
    if not found:
        return b""
    try:
        return ctypes.string_at(found, size.value)
    finally:
        library.sqlite3_free(found)
