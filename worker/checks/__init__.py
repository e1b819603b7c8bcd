"""Checks of connections and mappings."""
