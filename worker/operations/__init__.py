"""Operators' actions on dead letters, for commands and pages alike."""
