"""What a thought says: the operations it plans, and whether it is reasoning at all. Pure; no memory is asked."""
