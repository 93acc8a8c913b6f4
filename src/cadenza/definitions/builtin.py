"""Contracts of the events Cadenza makes or understands itself; they exist in every project."""

from __future__ import annotations

from cadenza.definitions.expression import Type
from cadenza.definitions.kinds import Contract, Property


def _contract(name: str, description: str, /, **properties: str) -> Contract:
    """``?`` after a type: the property may be missing."""
    return Contract(
        name=name,
        description=description,
        properties={
            key: Property(type=kind.rstrip("?"), required=not kind.endswith("?"))  # type: ignore[arg-type]
            for key, kind in properties.items()
        },
    )


def _of_message(name: str, description: str, /, **more: str) -> Contract:
    return _contract(
        name, description, message_id="string", journey="string?", step="string?", template="string?",
        detail="string?", **more,
    )  # fmt: skip


BUILTIN_CONTRACTS: tuple[Contract, ...] = (
    _contract("Call Ambiguous", "A crash in the call: the service may or may not have been asked.", message_id="string",
              journey="string?", step="string?", detail="string?"),
    _contract("Call Answered", "A service answered the call of a journey.", message_id="string", journey="string?",
              step="string?", detail="string?"),
    _contract("Call Failed", "A service refused the call of a journey, or could not be reached.", message_id="string",
              journey="string?", step="string?", detail="string?"),
    _contract("Consent Updated", "A statement of consent; the latest for purpose and channel is in force.",
              purpose="string", channel="string", granted="boolean", source="string?", text_version="string?"),
    _of_message("Email Bounced", "The provider could not deliver; `hard` suppresses the channel.", bounce_type="string"),
    _of_message("Email Delivered", "The receiving server took the message."),
    _of_message("Email Link Clicked", "A link of the message was followed.", url="string?"),
    _of_message("Email Marked as Spam", "A complaint; suppresses the channel."),
    _of_message("Email Opened", "The message was opened, as far as that can be known."),
    _contract("Entry Requested", "The API asks that the person enters a journey; a contract of this name adds properties.",
              journey="string"),
    _of_message("Message Ambiguous", "A crash in the call: the provider may or may not have taken the message."),
    _of_message("Message Failed", "The provider refused the message for good."),
    _of_message("Message Sent", "The provider accepted the message."),
    _contract("Page Viewed", "A `page` call.", name="string?", path="string?", title="string?", url="string?",
              referrer="string?", search="string?"),
    _contract("Screen Viewed", "A `screen` call.", name="string?"),
    _contract("Suppressed", "The channel (`*`: every channel) must not be used for this person, until an instant if one is said.",
              channel="string", reason="string", until="timestamp?", by="string?"),
    _contract("Task Accepted", "Somebody took a task on.", task_id="string", actor="string"),
    _contract("Task Commented", "Somebody said something about a task.", task_id="string", note="string", actor="string?"),
    _contract("Task Completed", "A task was completed with one of its outcomes.", task_id="string", outcome="string",
              actor="string?", note="string?"),
    _contract("Task Reassigned", "A task was given to another team or person.", task_id="string", team="string?",
              assignee="string?", actor="string?", note="string?"),
    _contract("Unsuppressed", "Ends what suppresses the channel for the reason; what is not said is any.", channel="string?",
              reason="string?", by="string?"),
    _contract("Unsubscribed", "Consent is withdrawn for the channel.", channel="string?", purpose="string?",
              message_id="string?", journey="string?", step="string?", template="string?", detail="string?"),
)  # fmt: skip
"""By name. A project may declare its own contract of the same name; its properties are added to these."""

TASK_EVENTS: dict[str, str] = {
    "Task Accepted": "accepted", "Task Commented": "commented", "Task Completed": "completed",
    "Task Reassigned": "reassigned",
}  # fmt: skip
"""What people do to tasks: the event's name -> the change that it asks for."""

CALL_EVENTS: dict[str, str] = {"Call Answered": "answered", "Call Failed": "failed"}
"""What delivery reports of calls: the event's name -> how the call ended, as far as the service can say."""

CALL_OUTCOMES = (*CALL_EVENTS, "Call Ambiguous")
"""All that delivery reports of calls."""

SYSTEM_PROPERTIES: dict[str, Type] = {
    "purpose": "string", "channel": "string", "granted": "boolean", "bounce_type": "string", "reason": "string",
    "source": "string", "text_version": "string", "message_id": "string", "detail": "string",
}  # fmt: skip
"""Properties of built-in events that the stages read; always typed columns, so their types are fixed."""
