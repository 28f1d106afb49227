"""Tools that know nothing of rewards. Each module is imported by its name; none is for users."""
