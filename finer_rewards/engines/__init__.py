"""The engines: a folder for all that is known of one, and a registry by which everybody else finds them."""
