"""Alembic's environment; configured in code (store.migrate), no ini file."""
