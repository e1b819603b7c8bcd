"""The operators' console: what runs, who waits, dead letters, and what operators did."""
