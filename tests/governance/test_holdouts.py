"""Holdouts of programmes and steps: assigned once, kept while shares grow, reported, and seen by the auditor."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from cadenza.ids import bucket
from tests.governance.test_suppressions import JOURNEY, RECEIPT
from tests.tasks.kit import Shop

POLICY = """
programmes:
  retention: {{ holdout: {{ name: kept_4, share: {share} }}, metric: revenue_28d }}
missing_time_zone: Europe/London
"""
SEND = "{{ template: worth_mail, holdout: {{ name: worth, share: {share} }} }}"
PEOPLE = [f"u{n}" for n in range(8)]


def journeys(programme: str, step: str) -> dict[str, str | None]:
    mails = JOURNEY.format(name="mails", template=SEND.format(share=step)) + "holdout: { name: own, share: 30% }\n"
    return {
        "journeys/mails.yaml": mails + "programme: retention\n",
        "journeys/notes.yaml": JOURNEY.format(name="notes", template="reminder_mail") + "programme: retention\n",
        "templates/worth_mail.yaml": RECEIPT.replace("receipt", "worth_mail").replace("transactional", "marketing").replace("orders", "marketing"),
        "policies/contact.yaml": POLICY.format(share=programme), "journeys/welcome.yaml": None, "tests": None,
    }  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    Shop.create_files(tmp_path, journeys("40%", "40%"))
    found = Shop(tmp_path, journey=None)
    yield found
    found.workspace.close()


def arms(shop: Shop, holdout: str) -> dict[int, str]:
    rows = shop.workspace.query(f"SELECT pid, arm FROM assignment WHERE holdout = '{holdout}'")
    found = {row["pid"]: row["arm"] for row in rows}
    assert len(found) == len(rows), "assigned once"
    return found


def order(shop: Shop, people: list[str]) -> None:
    for who in people:
        shop.note(who, traits={"email": f"{who}@example.com", "time_zone": "Europe/London"})
        shop.note(who, "Consent Updated", {"purpose": "marketing", "channel": "email", "granted": True})
        shop.note(who, "Order Completed", {"order_id": "A-1", "revenue": 60})
    shop.later(seconds=1)


def test_who_is_asked_for_what(shop: Shop) -> None:
    order(shop, PEOPLE)
    kept, own, worth = arms(shop, "kept_4"), arms(shop, "own"), arms(shop, "worth")
    assert len(kept) == len(PEOPLE)
    for holdout, found in (("kept_4", kept), ("own", own), ("worth", worth)):
        share = 3000 if holdout == "own" else 4000
        assert found == {pid: "holdout" if bucket(holdout, pid) < share else "treated" for pid in found}
    assert own.keys() == {pid for pid, arm in kept.items() if arm == "treated"}, "those whom the programme treats"
    assert worth.keys() == {pid for pid, arm in own.items() if arm == "treated"}, "those who come to the step"
    mailed = {row["pid"] for row in shop.workspace.query("SELECT pid FROM message WHERE template = 'worth_mail'")}
    assert mailed == {pid for pid, arm in worth.items() if arm == "treated"}
    noted = {row["pid"] for row in shop.workspace.query("SELECT pid FROM message WHERE template = 'reminder_mail'")}
    assert noted == own.keys(), "a journey without holdout of its own"
    for found in (kept, own, worth):
        assert set(found.values()) == {"holdout", "treated"}, "the town shows both arms"
    assert shop.workspace.audit.run().clean
    what_people_see(shop)


def test_a_share_that_grows_moves_nobody(shop: Shop, tmp_path: Path) -> None:
    order(shop, PEOPLE)
    before = [arms(shop, name) for name in ("kept_4", "worth")]
    for name, text in journeys("80%", "80%").items():
        if text is not None:
            (tmp_path / name).write_text(text)
    shop.workspace.apply()
    shop.tick()
    newcomers = [f"v{n}" for n in range(6)]
    order(shop, [*PEOPLE, *newcomers])
    for name, old in zip(("kept_4", "worth"), before, strict=True):
        now = arms(shop, name)
        assert old.items() <= now.items()
        assert {p: a for p, a in now.items() if p not in old} == {
            p: "holdout" if bucket(name, p) < 8000 else "treated" for p in now if p not in old
        }
    assert shop.workspace.audit.run().clean


def what_people_see(shop: Shop) -> None:
    """Report, explanation and what would have let it go."""
    shop.clock.advance_to(shop.clock.now() + timedelta(days=30))
    shop.workspace.run(until=shop.clock.now())
    report = shop.workspace.report()
    [programme] = report.programmes
    assert (programme.level, programme.holdout, programme.metric) == ("programme", "kept_4", "revenue_28d")
    counted = programme.treated.n + programme.held_out.n
    assert counted == len(PEOPLE)
    assert programme.sample_ratio is not None and programme.sample_ratio.ok
    compared = {c.holdout: c for c in next(j for j in report.journeys if j.name == "mails").comparisons}
    assert [c.level for c in compared.values()] == ["journey", "step"] and report.adds_up
    worth = arms(shop, "worth")
    assert compared["worth"].held_out.n == sum(arm == "holdout" for arm in worth.values())
    assert compared["worth"].lift.difference is not None
    held = next(pid for pid, arm in worth.items() if arm == "holdout")
    explained = shop.workspace.explain(f"p_{held}", "mails")
    assert [a.holdout for a in explained.assignments] == ["kept_4", "own", "worth"]
    words = explained.passages[0].messages[0].verdicts[0].words
    assert words == "not sent: it is withheld from the person for measurement (holdout 'worth')"
    why = shop.workspace.why_not.run(f"p_{held}", "mails")
    assert why.facts == ("'worth_mail' was withheld from nobody at this step",)
    out = next(pid for pid, arm in arms(shop, "kept_4").items() if arm == "holdout")
    why = shop.workspace.why_not.run(f"p_{out}", "notes")
    assert why.facts == ("the person was not in the holdout 'kept_4' of the programme 'retention'",)
