"""The mailbox of the development channel, as routes."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from cadenza.surfaces.mailbox_page import mailbox_list_html, mailbox_message_html
from cadenza.surfaces.problem import answer_problem, problem
from cadenza.workspace import Mailbox

LISTED = 200
"""Messages on the page at most."""
# Mail is hostile by nature: nothing of it may run, load or be framed elsewhere.
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self' data:; img-src data:; frame-ancestors 'self'",
    "referrer-policy": "no-referrer",
}


def mailbox_routes(mailbox: Mailbox) -> list[BaseRoute]:
    """``/mailbox`` (``?q=`` searches) and ``/mailbox/{message id}``."""

    def listed(request: Request) -> Response:
        text = request.query_params.get("q", "").strip()
        messages = mailbox.search(text, LISTED) if text else mailbox.list(LISTED)
        total = len(messages) if text else mailbox.count()
        return HTMLResponse(mailbox_list_html(messages, total=total), headers=_HEADERS)

    def shown(request: Request) -> Response:
        message = mailbox.get(request.path_params["message"])
        if message is None:
            return answer_problem(problem(404, "there is no such message in the mailbox."))
        return HTMLResponse(mailbox_message_html(message), headers=_HEADERS)

    return [Route("/mailbox", listed, name="mailbox"), Route("/mailbox/{message}", shown, name="mail")]
