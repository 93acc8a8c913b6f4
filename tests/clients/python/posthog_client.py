"""posthog makes the calls it is given, as far as it has them."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

from posthog import Posthog


def main() -> None:
    given = json.loads(sys.stdin.read())
    when = datetime.fromisoformat(given["when"])
    errors: list[str] = []
    client = Posthog(
        given["key"], host=given["url"], timeout=1, on_error=lambda error, batch: errors.append(str(error))
    )
    if given["refused"]:
        client.capture("Refused", distinct_id="user-1", timestamp=when)
        client.flush()
    for call in given["calls"]:
        make(client, call, when)
    client.shutdown()
    print(json.dumps(errors))


def make(client: Posthog, call: dict[str, Any], when: datetime) -> None:
    """One call, by the method or the event name that PostHog has for it."""
    user, properties = call.get("userId"), call.get("properties")
    match call["type"]:
        case "identify":
            client.set(distinct_id=user, properties=call["traits"], timestamp=when)
        case "track" if user is None:
            personless = properties | {"$process_person_profile": False}
            client.capture(call["event"], distinct_id=call["anonymousId"], properties=personless, timestamp=when)
        case "track":
            client.capture(call["event"], distinct_id=user, properties=properties, timestamp=when)
        case "page":
            named = properties | {"name": call["name"], "category": call["category"]}
            client.capture("$pageview", distinct_id=user, properties=named, timestamp=when)
        case "screen":
            named = properties | {"$screen_name": call["name"]}
            client.capture("$screen", distinct_id=user, properties=named, timestamp=when)
        case "group":
            client.group_identify("company", call["groupId"], call["traits"], timestamp=when)
        case "alias":
            client.alias(call["previousId"], user, timestamp=when)


if __name__ == "__main__":
    main()
