"""One file for each kind of message: its effect on the store."""
