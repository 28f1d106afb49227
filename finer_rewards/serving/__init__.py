"""The HTTP server over one scorer, and what its clients need: `finer_rewards.executing.Remote`, `RemoteMemory`.

`finer_rewards.serving.app.build_app` needs the extra `[server]`; the clients need the standard library alone.
"""
