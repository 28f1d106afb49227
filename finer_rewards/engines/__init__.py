"""The engines: a folder for all that is known of one, and a registry by which everybody else finds them.

One of your own is an `Engine`, given to `registry.register_engine`; see `examples/extending/engine.py`.
"""
