"""Reads a thought: which operations it plans, and whether it is reasoning at all. No memory and no database is used."""
