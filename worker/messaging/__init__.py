"""Bytes in, then an acknowledgement; the outbox, then bytes out."""
