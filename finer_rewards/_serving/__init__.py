"""The HTTP server over one scorer, which `finer-rewards serve` starts; it needs the extra `[server]`.

Its clients are in `finer_rewards.remote` and need the standard library alone.
"""
