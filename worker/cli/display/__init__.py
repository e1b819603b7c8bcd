"""Tables and sentences for the terminal, and the same content as JSON."""
