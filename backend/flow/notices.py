"""Which documents tell a supervisor of what the server found. Their words stand in the catalogue, their level in `kinds/notice.yaml`."""

from typing import Any

from backend.flow.kind import CompiledKind
from backend.sync.judge import Lost, NotStarted, Spawn

KIND = "notice"
STOPPED = ("flow.stopped_since", "flow.wrong_state", "flow.ended")
"""The codes of a start that stops have come before: the stop itself may have left the state that the start is taken in, or what followed
it may have ended the document."""


def notice(event: Lost | NotStarted, kind: CompiledKind | None) -> Spawn | None:
    """The document that tells of this; None where there is nothing to tell. `kind`: that of the document which was not started."""
    fields: dict[str, Any]
    match event:
        case Lost():
            params = {"phone": event.phone or str(event.device), "first": event.first, "last": event.last}
            fields = {"what": "notice.numbers_lost", "params": params, "device": event.device, "person": event.person, "at": event.at}
        case NotStarted(op=op):
            transition = kind.kind.transitions.get(op.transition) if kind is not None else None
            if transition is None or not transition.starts or event.code not in STOPPED:
                return None
            named = isinstance(op.author, str)
            fields = {"what": "notice.start_after_stop", "about": op.doc, "at": event.at}
            fields |= {"device": op.device, "person": op.author} if named else {}
    return Spawn(KIND, KIND, {name: value for name, value in fields.items() if value is not None})
