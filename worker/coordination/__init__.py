"""What a coordinator does, for commands and pages alike: events are made and sent, and what became of them is read."""
