"""The library of lifecycle journeys: small complete projects with tests. ``cadenza init --template NAME`` writes one.

A project is put together of pieces that several share (``pieces/``) and what is its own (``journeys/NAME/``), which
takes the place of a piece's file of the same path.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from cadenza.errors import CadenzaError, near_miss

_HERE = Path(__file__).parent
_KEPT = (".yaml", ".liquid", ".md")


class Blueprint(msgspec.Struct, frozen=True, kw_only=True):
    """One template: what it is for, in a line, and the shared pieces it stands on."""

    name: str
    summary: str
    pieces: tuple[str, ...] = ("base",)


_SHOP = ("base", "shop")

BLUEPRINTS: tuple[Blueprint, ...] = (
    Blueprint(name="lead_nurture", summary="A lead reads on until it is time to talk; then a seller takes over."),
    Blueprint(name="onboarding", summary="From the sign-up to the first useful result."),
    Blueprint(name="trial_to_paid", summary="From the first day of a trial to the decision; it follows the trial's end."),
    Blueprint(name="adoption", summary="Who does by hand what a feature could do is shown it, when it is worth it."),
    Blueprint(name="upsell_on_usage", summary="The plan grows tight: said early, said again at the limit."),
    Blueprint(name="retention_on_risk", summary="A risk score rises: large customers are called, others asked and helped."),
    Blueprint(name="renewal", summary="60, 30 and 7 days before a contract ends, wherever that date moves."),
    Blueprint(name="abandoned_cart", summary="A cart was left: one reminder, and an incentive for good customers.",
              pieces=_SHOP),
    Blueprint(name="win_back", summary="A customer who came back before has not ordered for long.", pieces=_SHOP),
    Blueprint(name="loyalty_tier", summary="A tier is reached or close; it is left as orders grow old.", pieces=_SHOP),
    Blueprint(name="referral", summary="Who would recommend us is asked to, and thanked."),
    Blueprint(name="appointment_reminder", summary="Booked, called to mind, and confirmed, moved or cancelled."),
    Blueprint(name="post_service_recovery", summary="A serious problem: sorry, a question when it is solved, amends."),
    Blueprint(name="account_programme", summary="The contacts of a chosen account, by role, until it books a meeting."),
)  # fmt: skip
"""Every template, in the order of a customer's life."""


def blueprint(name: str) -> Blueprint:
    """The template of a name. Raises CadenzaError with the nearest name."""
    for found in BLUEPRINTS:
        if found.name == name:
            return found
    raise CadenzaError(f"there is no template '{name}'.", remedy=near_miss(name, [b.name for b in BLUEPRINTS]))


def blueprint_files(name: str) -> dict[str, bytes]:
    """Path relative to the project -> content, sorted. Raises CadenzaError for an unknown name."""
    wanted = blueprint(name)
    found = {"cadenza.yaml": f"# {wanted.summary} See README.md.\nproject: {name}\n".encode()}
    for part in (*(_HERE / "pieces" / piece for piece in wanted.pieces), _HERE / "journeys" / name):
        for path in part.rglob("*"):
            if path.suffix in _KEPT:
                found[path.relative_to(part).as_posix()] = path.read_bytes()
    return dict(sorted(found.items()))
