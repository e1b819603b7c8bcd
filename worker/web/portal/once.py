"""A form that is sent twice asks for one thing: by a double click, or as its answer was lost and is loaded anew."""

from typing import TypeVar
from uuid import UUID, uuid4, uuid5

from messages import PushRequested, RevertRequested
from store import portal_requests
from worker.web.visit import Visit

E = TypeVar("E", PushRequested, RevertRequested)


def request_id(visit: Visit, *content: str) -> str:
    """The id of what a form asks for: the same for the same content of a form that was shown once."""
    try:
        form = UUID(visit.field("form_id"))
    except ValueError:
        form = uuid4()
    return str(uuid5(form, "\n".join(content)))


def send(visit: Visit, name: str, event: E) -> None:
    """Send the event, or the one that another click has made for this request meanwhile.

    Whoever takes it twice knows it by its id, so it is sent again: the first click may have failed to.
    """
    with visit.site.database.begin() as tx:
        kept = portal_requests.keep(tx, visit.partner, name, event.model_dump_json())
    visit.site.send([type(event).model_validate_json(kept)])
