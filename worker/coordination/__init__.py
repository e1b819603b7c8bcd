"""The work of a coordinator, for commands and pages alike: events are made and sent, and their results read."""
