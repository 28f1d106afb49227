"""Tools that know nothing of rewards; each module is imported by its name, none is for users."""
