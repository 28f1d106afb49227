"""The HTTP server over one scorer: `finer_rewards.serving.app.build_app` needs the extra `[server]`.

Its clients are in `finer_rewards.remote` and need the standard library alone.
"""
