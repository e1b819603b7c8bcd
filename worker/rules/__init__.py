"""The rules: pure functions that touch no network, database, clock or chance (a contract in pyproject.toml)."""
