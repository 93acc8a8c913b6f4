"""customerio (Track API) makes the calls it is given, as far as it has them."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

from customerio import CustomerIO, CustomerIOException


def main() -> None:
    given = json.loads(sys.stdin.read())
    host, _, port = given["url"].removeprefix("https://").partition(":")
    when = datetime.fromisoformat(given["when"])
    errors: list[str] = []
    with CustomerIO(given["key"], "api-key", host=host, port=int(port), timeout=1) as client:
        if given["refused"]:
            try:
                client.track("user-1", "Refused", timestamp=when)
            except CustomerIOException as error:
                errors.append(str(error))
        for number, call in enumerate(given["calls"]):
            make(client, call, when, f"id-{number}")
    print(json.dumps(errors))


def make(client: CustomerIO, call: dict[str, Any], when: datetime, event_id: str) -> None:
    """One call, by the method that is meant for it."""
    user, properties = call.get("userId"), call.get("properties") or {}
    match call["type"]:
        case "identify":
            client.identify(user, **call["traits"])
        case "track" if user is None:
            client.track_anonymous(call["anonymousId"], call["event"], properties, id=event_id, timestamp=when)
        case "track":
            client.track(user, call["event"], properties, timestamp=when)
        case "page":
            client.pageview(user, call["name"], category=call["category"], **properties)
        case "device":
            client.add_device(user, call["token"], "ios", attributes=call["attributes"])
        case "alias":
            client.merge_customers("id", user, "id", call["previousId"])
        case "delete":
            client.delete(user)


if __name__ == "__main__":
    main()
