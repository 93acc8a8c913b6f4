"""Identity: identifiers of records become persons; every attachment and merge is a row of the link ledger."""

from __future__ import annotations

from sqlglot import exp

from cadenza.definitions.kinds import ACCOUNT, Identity
from cadenza.sql.program import Program
from cadenza.sql.step import Script, Step, alias, all_of, any_of, case_on, column, number, text

_SCRIPT = Script.beside(__file__, "identity")

BLOCKED = ("", "null", "none", "undefined", "nan", "unknown", "anonymous", "test", "0", "-1")
"""Values that never identify anyone, in any case; so do values of zeros or of dashes only."""
_SPACE = " \t\n\r\f\v"
_PREVIOUS, _PERSON = "previousId", "person"
_ALIAS_PRIORITY = 1000

MERGED_TABLES = ("identifier", "event", "trait_value", "consent", "suppression", "membership", "enrollment",
                 "enrollment_end", "transition", "refusal", "assignment", "decision", "message")  # fmt: skip
"""Tables whose rows follow a merge; those that need it keep ``origin_pid``."""

MERGED_WITH_TASKS = ("task", "task_change")
"""And these, where people are handed to people."""

MERGED_WITH_CALLS = ("service_call", "service_answer")
"""And these, where services are asked."""


def arrivals(program: Program, outcomes: bool, several: bool, index_of: dict[str, int]) -> list[Step]:
    """Identifiers of the queue, and which records cannot be told apart yet (nodes and edges of lanes).

    ``index_of``: path -> position in the queue's extraction lists. ``several``: more than one record is queued.
    """
    key = ("identity.arrivals", outcomes, several)
    return program.cached(key, lambda: _arrivals(program, outcomes, several, index_of))


def _arrivals(program: Program, outcomes: bool, several: bool, index_of: dict[str, int]) -> list[Step]:
    sources = _sources(program.project.identity)
    rows = [
        exp.Tuple(expressions=[
            text(kind), number(_ALIAS_PRIORITY if alias_ else n), exp.true() if alias_ else exp.false(), number(index_of[path]),
        ])
        for n, (kind, path, alias_) in enumerate(sources)
    ]  # fmt: skip
    steps = [
        _SCRIPT.step("t_ident", kinds=rows, space=text(_SPACE), user=number(index_of["userId"]), usable=usable(program),
                     accounts=exp.true() if program.project.identity.accounts else exp.false()),
        _SCRIPT.step("t_edge", owners=owners(outcomes)),
    ]  # fmt: skip
    if several:
        steps.append(_SCRIPT.step("t_known"))
    if outcomes:
        steps.append(_SCRIPT.step("t_edge_created"))
    return [*steps, _SCRIPT.step("t_lane" if several else "t_lane_none")]


def _sources(identity: Identity) -> list[tuple[str, str, bool]]:
    declared = [(i.type, i.source, False) for i in identity.identifiers]
    declared += [(ACCOUNT, "groupId", False)] if identity.accounts is not None else []
    return [*declared, ("user_id", _PREVIOUS, True), ("anonymous_id", _PREVIOUS, True), (_PERSON, _PERSON, False)]


def usable(program: Program) -> exp.Expr:
    """Whether the ``value`` of a row ``i`` with a ``type`` may name a person, or an account."""
    value = column("value", "i")
    common = exp.In(this=exp.Lower(this=value.copy()), expressions=[text(b) for b in BLOCKED])
    filler = exp.func("regexp_full_match", value.copy(), text("0+|-+"))
    declared = []
    identity = program.project.identity
    kinds = [(identifier.type, identifier.blocked) for identifier in identity.identifiers]
    kinds += [(ACCOUNT, identity.accounts.blocked)] if identity.accounts is not None else []
    for kind, barred_values in kinds:
        for blocked in barred_values:
            test = (
                exp.func("regexp_matches", value.copy(), text(blocked[1:-1]))
                if len(blocked) > 2 and blocked[0] == blocked[-1] == "/"
                else exp.EQ(this=value.copy(), expression=text(blocked))
            )
            declared.append(all_of([exp.EQ(this=column("type", "i"), expression=text(kind)), test]))
    barred = any_of([common, filler, *declared])
    return any_of([exp.EQ(this=column("type", "i"), expression=text(_PERSON)), exp.Not(this=exp.paren(barred))])


def owners(outcomes: bool) -> exp.Expr:
    """The query of queued identifiers and who holds them; ``outcomes``: some records name a person by number."""
    return _SCRIPT.query("owners_outcomes" if outcomes else "owners")


def lane_round() -> Step:
    """One round of joining lanes that share a node."""
    return _SCRIPT.step("t_lane_next")


def lane_settle() -> Step:
    return _SCRIPT.step("t_lane_settle")


def lane_persons(queued: int) -> Step:
    """The known persons of each lane, of so many queued records."""
    return _SCRIPT.step(("t_lane_person_none", "t_lane_person_one")[queued] if queued < 2 else "t_lane_person")


def known() -> str:
    """A query: what the wave's records are and what they mean for identity."""
    return _SCRIPT.text("known")


def resolve(program: Program, outcomes: bool, aliases: bool) -> list[Step]:
    """The person of each of the wave's records."""
    return program.cached(("identity.resolve", outcomes, aliases), lambda: _resolve(outcomes, aliases))


def _resolve(outcomes: bool, aliases: bool) -> list[Step]:
    steps = [_SCRIPT.step("w_owner", owners=owners(outcomes))]
    if aliases:
        steps.append(_SCRIPT.step("w_alias"))
    return [*steps, _SCRIPT.step("w_res")]


def attach(fresh: bool, brought: bool, unidentified: bool) -> list[Step]:
    """New persons, new identifiers, and records that identify nobody."""
    names = []
    if unidentified:
        names.append("unidentified")
    if fresh:
        names += ["person", "lane_person"]
    if brought:
        names += ["link", "identifier"]
    return [_SCRIPT.step(name) for name in names]


def merge(program: Program) -> list[Step]:
    """The wave's merges: the ledger, then every row, memberships and running passages."""
    return program.cached("identity.merge", lambda: _merge(program))


def _merge(program: Program) -> list[Step]:
    steps = [_SCRIPT.step("w_merge"), _SCRIPT.step("link_merge"), _SCRIPT.step("merge_person")]
    if program.schema.segments:
        steps += _merge_memberships(program)
    else:
        steps += _merge_profile(program)
    tables = [
        *MERGED_TABLES,
        *(MERGED_WITH_TASKS if program.hands else ()),
        *(MERGED_WITH_CALLS if program.calls else ()),
    ]
    steps += [_SCRIPT.step("merge_rows", {"merged_table": t}) for t in tables]
    conflict = "w_conflict_declared" if set(program.on_merge.values()) - {"earliest"} else "w_conflict"
    return [*steps, _SCRIPT.step("unprofile"), _SCRIPT.step(conflict), _SCRIPT.step("end_conflict"),
            _SCRIPT.step("stop_conflict")]  # fmt: skip


def _merge_memberships(program: Program) -> list[Step]:
    names = program.schema.segments
    member = case_on(column("segment", "s"), [(text(n), column(f"s_{n}", "p")) for n in names], exp.false())
    return [
        _SCRIPT.step("w_member", segments=[exp.Tuple(expressions=[text(n)]) for n in names], member=member),
        _SCRIPT.step("merge_membership"), *_merge_profile(program),
    ]  # fmt: skip


def _merge_profile(program: Program) -> list[Step]:
    names = [f"s_{n}" for n in program.schema.segments]
    unions = [alias(exp.func("bool_or", column(n, "p")), n) for n in names]
    updates = [exp.EQ(this=exp.column(exp.to_identifier(n, quoted=True)), expression=column(n, "u")) for n in names]
    return [_SCRIPT.step("merge_profile", unions=unions, updates=updates)]


def persons(records: bool, timers: bool) -> Step:
    """The wave's persons, each at its instant."""
    return _SCRIPT.step("w_p" if records and timers else "w_p_records" if records else "w_p_timers")


def everyone() -> Step:
    """All persons, at the horizon."""
    return _SCRIPT.step("w_p_everyone")
