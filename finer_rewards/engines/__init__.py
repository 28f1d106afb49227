"""The database engines: one folder holds all that is known of an engine, and `registry.py` finds the right one.

To add an engine, pass an `Engine` to `registry.register_engine`; see the folder `examples/extending/csv_engine`.
"""
