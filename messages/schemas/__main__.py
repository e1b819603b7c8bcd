"""`python -m messages.schemas`: write the schemas anew."""

from messages.schemas import write

write()
