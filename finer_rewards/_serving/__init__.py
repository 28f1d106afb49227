"""The HTTP server around one scorer, which `finer-rewards serve` starts; it needs the extra `[server]`.

A request passes `connections` (one client), `request_handler` (who may ask, and how much), `app` (which path), and
`service` (what is done with the payload). The clients are in `finer_rewards.remote` and need no further package.
"""
