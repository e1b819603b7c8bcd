"""The judgement: pure functions that touch no network, database or clock."""
