"""The faults of ``seeded_faults`` planted in the real engine: in the text of a stage's SQL, or in the code of a function.

Each is a wrong text for a right one that stands in the source. ``planted`` puts it there for a while.
"""

from __future__ import annotations

import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import _lru_cache_wrapper
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import msgspec

import cadenza
from cadenza.sql.step import Script
from cadenza.stages import calls, effects, tasks
from cadenza.stages.journeys import control, entering, walking

SOURCE = Path(cadenza.__file__).parent


class Slip(msgspec.Struct, frozen=True):
    """``wrong`` in place of every ``right`` in ``place``: ``stages/x.sql``, or ``room/module.py:function``."""

    place: str
    right: str
    wrong: str


ENGINE_FAULTS: dict[str, tuple[Slip, ...]] = {
    "window_closed_at_the_start": (
        Slip("sql/expression.py:aggregate", "exp.GT(this=leaves.copy()", "exp.GTE(this=leaves.copy()"),
        Slip(
            "sql/expression.py:aggregate", "exp.Min(this=leaves.copy()), where)",
            'exp.Min(this=leaves.copy()), [*where, exp.GT(this=leaves.copy(), expression=column("now", "w"))])',
        ),
    ),
    "check_at_forgets_older_than": (
        Slip("sql/expression.py:Compiler.boundaries", "case OlderThan(arg, seconds):", "case OlderThan(arg, seconds) if False:"),
    ),
    "merge_keeps_the_latest": (Slip("stages/identity.sql", "ORDER BY e.entered_at, e.eid)", "ORDER BY e.entered_at DESC, e.eid)"),),
    "merge_triggers": (
        Slip("stages/identity.py:_merge_profile", 'exp.func("bool_or", column(n, "p"))',
             """__import__("sqlglot").parse_one(f'bool_or(p."{n}") FILTER (WHERE p.pid = g.survivor)', dialect="duckdb")"""),
    ),
    "survivor_is_the_largest": (Slip("stages/identity.sql", "coalesce(min(pid), offset_) AS pid", "coalesce(max(pid), offset_) AS pid"),),
    "email_keeps_its_case": (Slip("stages/identity.sql", "WHEN k.type = 'email' THEN lower(", "WHEN k.type = 'email' THEN trim("),),
    "tie_grants_consent": (Slip("stages/profiles.py:_consents", "bool_and(k.granted)", "bool_or(k.granted)"),),
    "late_statement_wins": (
        Slip("stages/profiles.sql", "s.occurred_at = max(s.occurred_at) OVER", "s.offset_ = max(s.offset_) OVER"),
    ),
    "late_trait_wins": (
        Slip("stages/profiles.py:_sent_traits", "(v.occurred_at, v.applied_at,", "(v.applied_at, v.occurred_at,"),
    ),
    "exits_after_steps": (
        Slip("stages/journeys/walking.sql", "CASE WHEN :goal THEN", "CASE WHEN e.wake_at <= e.now THEN NULL WHEN :goal THEN"),
    ),
    "disqualified_before_goal": (
        Slip("stages/journeys/walking.sql", "CASE WHEN :goal THEN 'goal' WHEN :disqualified THEN 'disqualified' END",
             "CASE WHEN :disqualified THEN 'disqualified' WHEN :goal THEN 'goal' END"),
    ),
    "null_takes_otherwise": (Slip("stages/journeys/walking.py:_hop", "if unknown != no:", "if False:"),),
    "record_before_timer": (
        Slip("stages/events.sql", "t.at_ <= r.at_ THEN", "t.at_ < r.at_ THEN"),
        Slip("stages/events.sql", "r.at_ < t.at_ THEN", "r.at_ <= t.at_ THEN"),
    ),
    "arrival_sees_the_event": (
        Slip("definitions/graph.py:_Flattening._wait_for", "without_events(with_flags(c, dict(flags)))", "with_flags(c, dict(flags))"),
    ),
    "holdout_bucket_off": (Slip("stages/journeys/entering.sql", "WHEN :bucket < k.share_bp", "WHEN :bucket * 2 <= k.share_bp"),),
    "re_entry_counts_from_the_exit": (
        Slip("stages/journeys/entering.sql", "max(e.entered_at) AS last_at",
             "max((SELECT max(z.ts) FROM enrollment_end AS z WHERE z.eid = e.eid)) AS last_at"),
    ),
    "overdue_blocks_re_entry": (Slip("stages/journeys/entering.sql", "s.reason IS NULL AND NOT s.overdue", "s.reason IS NULL"),),
    "priority_tie_lets_in": (Slip("stages/journeys/entering.sql", "s.priority >= d.priority", "s.priority > d.priority"),),
    "supersedes_across_arenas": (
        Slip("stages/journeys/walking.sql", "x.pid = s.pid AND x.arena = s.arena", "x.pid = s.pid"),
        Slip("stages/journeys/walking.sql", "verdict = 'enter' AND arena IS NOT NULL", "verdict = 'enter'"),
    ),
    "wait_outlives_the_limit": (
        Slip("stages/journeys/walking.sql", "least(m.now + to_seconds(h.seconds), m.limit_at)", "m.now + to_seconds(h.seconds)"),
    ),
    "suppress_unknown_lets_through": (Slip("stages/governance/judging.py:_suppress_rule", "[exp.true()]", "[exp.false()]"),),
    "transactional_asks_consent": (
        Slip("stages/governance/judging.sql", "s.message_class <> 'marketing' THEN", "s.message_class <> 'marketing' AND c.consented_ THEN"),
    ),
    "quiet_hours_one_hour_off_in_summer": (
        Slip("stages/governance/hours.sql", "greatest(z.utc_from, q.target - to_seconds(z.off_s))", "q.now + (q.target - q.local_)"),
        Slip("stages/governance/hours.sql", "SELECT l.eid, l.zone, l.now,", "SELECT l.eid, l.zone, l.now, l.local_,"),
    ),
    "cap_off_by_one": (Slip("stages/governance/caps.py:full", ">= {cap.limit}", "> {cap.limit}"),),
    "cap_window_closed_at_the_start": (
        Slip("stages/governance/caps.py:contact", "m.planned_at > g.now", "m.planned_at >= g.now"),
        Slip("stages/governance/caps.py:full", "k.k_{i} + to_seconds({cap.per_s})", "k.k_{i} + to_seconds({cap.per_s}) + to_microseconds(1)"),
        Slip("stages/governance/caps.sql", "m.planned_at > g.now", "m.planned_at >= g.now"),
    ),
    "all_candidates_at_once": (Slip("stages/governance/judging.sql", ".turn = 1", ".turn >= 1"),),
    "deadline_from_the_last_deferral": (
        Slip("stages/journeys/walking.sql", "limit_at), due_since FROM w_verdict",
             "limit_at), CASE WHEN verdict = 'defer' THEN until ELSE due_since END FROM w_verdict"),
    ),
    "failed_messages_count": (Slip("stages/governance/caps.sql", "name = 'Message Failed'", "name = 'Never'"),),
    "completed_cancels": (
        Slip("runtime/wave.py:Wave._journeys", "if ended and self._live:", "if False:"),
        Slip("runtime/wave.py:Wave._journeys", "sends = self._send(", "self._live and run(engine, [effects.cancel_ended()]); self.cancelled = True; sends = self._send("),
        Slip("stages/effects.sql", "JOIN w_end AS x ON",
             "JOIN (SELECT eid, now, reason, offset_ FROM w_end UNION SELECT eid, now, reason, offset_ FROM w_move WHERE kind = 'end') AS x ON"),
    ),
    "forbidden_by_now_stays": (Slip("stages/effects.sql", "m.deliverable AND (:suppressed", "FALSE AND (:suppressed"),),
    "handed_over_is_cancelled": (Slip("stages/effects.sql", "AS o ON o.message_id = m.message_id AND", "AS o ON FALSE AND"),),
    "value_is_not_asked": (Slip("stages/governance/judging.sql", "g.value DESC NULLS LAST, ", ""),),
    "unknown_value_goes_first": (Slip("stages/governance/judging.sql", "g.value DESC NULLS LAST", "g.value DESC NULLS FIRST"),),
    "window_on_any_day": (Slip("definitions/open_hours.py:_open", "if not w.days or name in w.days", "if True"),),
    "unknown_jurisdiction_lets_through": (
        Slip("stages/governance/judging.sql", "WHEN c.jurisdiction_ IS NULL THEN 'no_jurisdiction'", "WHEN FALSE THEN 'no_jurisdiction'"),
    ),
    "silence_is_consent": (Slip("sql/jurisdictions.py:consented", 'if j.consent == "opt_out"]', "if True]"),),
    "calendar_of_utc": (Slip("stages/governance/caps.sql", "g.zone, g.now, g.now + to_seconds(r.off_s) AS local_", "'UTC' AS zone, g.now, g.now AS local_"),),
    "week_from_sunday": (
        Slip("stages/governance/caps.py:_period", "date_trunc('{period}', l.local_)", "(date_trunc('{period}', l.local_ + to_seconds(86400)) - to_seconds(86400))"),
    ),
    "each_journey_counts_all": (Slip("stages/governance/caps.py:_same", 'if cap.journey or cap.each == "journey":', "if cap.journey:"),),
    "topic_is_the_purpose": (Slip("stages/governance/caps.py:_topic", "if t.topic]", "if False]"),),
    "replay_is_delivered": (Slip("stages/effects.sql", "d.now > getvariable('live_from')", "TRUE"),),
    "calendar_days_in_utc": (Slip("stages/journeys/waiting.sql", "g.now + to_seconds(r.off_s) AS local_", "g.now AS local_"),),
    "until_on_any_day": (Slip("stages/journeys/waiting.sql", "substr(l.today, l.weekday, 1) = '1' AND ", ""),),
    "holidays_are_open": (Slip("stages/journeys/waiting.sql", "AND f.day = CAST(d.day AS DATE)", "AND FALSE"),),
    "past_date_goes_on": (Slip("stages/journeys/waiting.sql", "x.target < x.now THEN 'past'", "x.target < x.now THEN 'timer'"),),
    "time_alone_is_not_looked_at": (Slip("stages/journeys/rechecking.sql", "check_at = :at", "check_at = CASE WHEN FALSE THEN :at END"),),
    "entering_asks_no_key": (Slip("stages/journeys/entering.sql", "CASE WHEN t.keyed THEN nullif(s.key, '') END", "NULL"),),
    "two_enter_as_one": (Slip("stages/journeys/entering.sql", "WHEN j.turn > 1 THEN 're_entry'", ""),),
    "a_jump_too_many": (Slip("definitions/graph.py:_Flattening._jump", "times >= step.at_most", "times > step.at_most"),),
    "rounds_share_a_message_id": (Slip("sql/program.py:_send_row", "said, stop.round", "said"),),
    "all_must_hold_together": (
        Slip("stages/journeys/keeping.sql", "seen = coalesce(enrollment.seen, 0) | :bits", "seen = :bits"),
        Slip("stages/journeys/keeping.py:_with", "exp.Coalesce(this=before, expressions=[number(0)])", "number(0)"),
    ),
    "the_last_true_condition_wins": (
        Slip("definitions/graph.py:_Flattening._wait_for", "in reversed(list(enumerate(arrived))):", "in enumerate(arrived):"),
        Slip("definitions/graph.py:_Flattening._came_true", "return Decide(with_flags(step.any[i], dict(flags)), here, rest, rest)",
             "last = with_flags(step.any[-1], dict(flags)); return Decide(last, rest, here, here)"),
    ),
    "frozen_clocks_run": (
        Slip("stages/journeys/control.sql", "THEN p.wake_at + (getvariable('horizon') - p.since) ELSE", "THEN greatest(p.wake_at, getvariable('horizon')) ELSE"),
    ),
    "pause_lets_in": (Slip("stages/journeys/control.sql", "IS DISTINCT FROM 'no_key'", "= 'nothing'"),),
    "pause_lets_go_on": (Slip("stages/journeys/control.sql", "p.eid = w_go.eid AND p.since IS NOT NULL", "FALSE"),),
    "kill_spares_transactional": (
        Slip("stages/governance/judging.sql", "WHERE (k.journey IS NULL", "WHERE w_gate.message_class = 'marketing' AND (k.journey IS NULL"),
    ),
    "stop_withdraws_nothing": (Slip("stages/journeys/control.sql", "SEMI JOIN w_stopped AS w ON w.eid = m.eid", "SEMI JOIN w_stopped AS w ON FALSE"),),
    "second_acceptance_wins": (Slip("stages/tasks.sql", "c.accepted_by <> q.by_", "FALSE"),),
    "task_completed_twice": (Slip("stages/tasks.sql", "WHEN c.ended IS NOT NULL THEN", "WHEN c.ended <> 'completed' THEN"),),
    "arm_before_the_new_team": (Slip("stages/tasks.sql", "CASE WHEN d.escalates THEN 2 ELSE 0 END AS ends", "0 AS ends"),),
    "new_team_without_time": (Slip("stages/tasks.sql", "d.now + to_seconds(d.again_s)", "d.now + to_seconds(d.after_s)"),),
    "exit_leaves_the_task_open": (Slip("stages/tasks.sql", "FROM w_end AS x JOIN task AS k ON k.eid = x.eid", "FROM w_end AS x JOIN task AS k ON FALSE"),),
    "merge_leaves_the_task_open": (Slip("stages/tasks.sql", "WHERE t.jid IS NULL", "WHERE FALSE"),),
    "only_the_journey_is_held": (Slip("stages/tasks.sql", "WHERE s.message_class = 'marketing'", "WHERE s.message_class = 'marketing' AND v.journey = h.journey"),),
    "transactional_is_held": (Slip("stages/tasks.sql", "WHERE s.message_class = 'marketing'", "WHERE TRUE"),),
    "held_until_the_deadline": (Slip("stages/tasks.sql", "WHERE s.wake_at > s.now", "WHERE FALSE"),),
    "shows_events_of_later": (Slip("stages/tasks.sql", "(e.recorded_at < m.now OR e.offset_ = m.offset_)", "TRUE"),),
    "late_answer_counts": (Slip("stages/calls.sql", "WHEN t.jid IS NULL OR d.call_id IS NOT NULL THEN 'late'", "WHEN d.call_id IS NOT NULL THEN 'late'"),),
    "any_type_is_taken": (Slip("stages/calls.sql", "WHERE NOT v.fits", "WHERE v.value IS NULL"),),
    "call_asks_no_consent": (Slip("stages/calls.py:_refused", "if purposes:", "if False:"),),
    "refused_call_waits": (Slip("stages/calls.sql", "AND k.refused IS NOT NULL AND", "AND FALSE AND"),),
    "nobody_withdraws_the_unanswered": (Slip("stages/calls.sql", "AND g.way = 'unanswered'", "AND FALSE"),),
    "exit_leaves_the_call": (Slip("stages/calls.sql", "JOIN w_end AS x ON x.eid = k.eid\n", "JOIN w_end AS x ON FALSE\n"),),
    "merge_forgets_the_call": (Slip("stages/identity.py:_merge", "*(MERGED_WITH_CALLS if program.calls else ())", "*()"),),
    "late_event_triggers": (Slip("stages/journeys/entering.py:_late", "if entry.late_s is None or not events:", "if True:"),),
    "goal_reached_enters_again": (Slip("stages/journeys/entering.py:asks_for_goals", "return any(", "return False and any("),),
    "replaced_goes_on": (Slip("stages/journeys/walking.sql", "AND y.key = s.key AND NOT s.overdue", "AND FALSE"),),
    "change_from_any_value": (Slip("stages/journeys/entering.py:_fires", "if on.trait is not None and", "if False and"),),
    "past_date_enters": (Slip("stages/journeys/entering.py:_fires", "if on.date is not None and", "if False and"),),
    "the_latest_is_the_earliest": (Slip("stages/identity.sql", "WHEN v.on_merge = 'latest' THEN", "WHEN FALSE THEN"),),
    "everybody_enters_for_the_account": (
        Slip("stages/journeys/entering.py:_of_subject", "if program.project.identity.accounts is None:", "if True:"),
    ),
    "segments_of_everybody": (
        Slip("stages/profiles.py:_member", "if program.project.identity.accounts is None:", "if True:"),
    ),
    "group_says_nothing": (
        Slip("stages/events.sql", "q.type = 'group' AND q.properties IS NOT NULL AS has_traits", "FALSE AS has_traits"),
    ),
    "account_as_sent": (
        Slip("stages/events.sql", "trim(list_extract(s, CASE WHEN type = 'group' THEN :group_index ELSE :account_index END), :space) AS value",
             "coalesce(list_extract(s, CASE WHEN type = 'group' THEN :group_index ELSE :account_index END), trim(NULL, :space)) AS value"),
    ),
    "who_left_still_runs": (Slip("stages/journeys/leaving.sql", "SET reason = l.exit", "SET reason = CASE WHEN FALSE THEN l.exit END"),),
    "last_steps_keep_the_queue": (
        Slip("stages/effects.sql", "JOIN w_end AS x ON x.eid = m.eid", "JOIN (SELECT * FROM w_end AS a ANTI JOIN w_go AS b ON b.eid = a.eid) AS x ON x.eid = m.eid"),
    ),
    "last_step_asks_nobody": (Slip("stages/journeys/entering.sql", "(s.reason IS NULL OR n.leaving)", "s.reason IS NULL"),),
    "who_left_is_still_inside": (Slip("stages/profiles.py:_last_stops", "if stop.leaving", "if False"),),
    "map_forgets_the_clock": (
        Slip("stages/journeys/migrating.sql", "WHEN 'clock' THEN w.wake_at + to_seconds(w.seconds)", "WHEN 'clock' THEN getvariable('horizon') + to_seconds(3600)"),
    ),
    "programme_asked_after_the_journey": (Slip("stages/journeys/entering.sql", "AND p.arm = 'holdout';", "AND p.arm = 'holdout' AND w_judged.arm = 'treated';"),),
    "programme_assigns_anew": (Slip("stages/journeys/entering.sql", "WHERE p.arm = 'treated' AND p.assigned IS NULL", "WHERE p.arm = 'treated'"),),
    "step_holdout_of_dropped_messages": (
        Slip("stages/governance/judging.sql", "AND h.holdout = p.holdout WHERE g.reason IS NULL;", "AND h.holdout = p.holdout;"),
        Slip("stages/governance/judging.sql", "AND w_gate.reason IS NULL AND h.arm", "AND h.arm"),
    ),
    "step_holdout_forgets_the_ledger": (Slip("stages/governance/judging.sql", "coalesce(h.arm, CASE WHEN :bucket < p.share_bp THEN 'holdout'", "coalesce(NULL, CASE WHEN :bucket < p.share_bp THEN 'holdout'"),),
    "suppression_ends_late": (Slip("stages/profiles.sql", "coalesce(s.until > w.now, TRUE)", "coalesce(s.until >= w.now, TRUE)"),),
    "suppression_does_not_end": (Slip("stages/profiles.sql", "coalesce(s.until > w.now, TRUE)", "TRUE"),),
    "ended_for_every_reason": (Slip("stages/profiles.sql", "AND coalesce(q.p_reason, s.reason) = s.reason", ""),),
    "every_channel_is_none": (Slip("stages/profiles.py:_suppressions", "IN ('{_quoted(c)}', '*')", "IN ('{_quoted(c)}')"),),
    "schedule_of_utc": (Slip("sql/schedules.py:next_time", '"zone_": zone,', '"zone_": text("UTC"),'),),
    "schedule_takes_everybody": (
        Slip("sql/expression.py:Compiler._function", "this=exp.paren(self._compile(arg), copy=False), expression=due", "this=exp.true(), expression=due"),
    ),
    "entry_is_now": (
        Slip("stages/journeys/compiling.py:compiler_of", "lambda _, kept: column(kept, passage)", "lambda name, _: Compiler(program.schema, Needs()).condition(Trait(name))"),
    ),
    "nothing_is_kept_at_entry": (Slip("stages/journeys/keeping.sql", "m.rid IS NULL AND c.pid", "FALSE AND c.pid"),),
    "experiments_draw_alike": (Slip("stages/journeys/walking.py:_drawn", 'column("split", "y")', 'text("arms")'),),
    "waiting_channel_before_an_open_one": (Slip("stages/governance/choosing.sql", "ORDER BY z.class, CASE", "ORDER BY z.class = 3, CASE"),),
    "channel_that_opens_last": (Slip("stages/governance/choosing.sql", "WHEN z.class = 1 THEN z.until END,", "WHEN z.class = 1 THEN z.until END DESC,"),),
    "cost_is_not_weighed": (Slip("stages/governance/choosing.py:_score", "millionths(channel.cost)", "0"),),
    "more_responses_than_messages": (Slip("stages/governance/choosing.py:_responses", "least({often}, coalesce(r.messages, 0))", "{often}"),),
    "channel_chosen_before_consent": (Slip("stages/governance/choosing.sql", "WHEN y.barred IS NOT NULL THEN 3", "WHEN FALSE THEN 3"),),
}  # fmt: skip
"""The fault's name in ``seeded_faults`` -> what to get wrong in the engine."""

SMALL = (30, 1)
SHOWN_BY: dict[str, int | tuple[int, str]] = {
    "window_closed_at_the_start": 2145, "check_at_forgets_older_than": 2168, "merge_keeps_the_latest": 2099,
    "merge_triggers": 2081, "survivor_is_the_largest": 2112, "email_keeps_its_case": 2112, "tie_grants_consent": 2070,
    "late_statement_wins": 2070, "late_trait_wins": 2188, "exits_after_steps": 2021, "disqualified_before_goal": 2053,
    "null_takes_otherwise": 2010, "record_before_timer": 2160, "arrival_sees_the_event": 2065,
    "holdout_bucket_off": 2099, "re_entry_counts_from_the_exit": 2077, "overdue_blocks_re_entry": 2208,
    "priority_tie_lets_in": 2051, "supersedes_across_arenas": 2043, "wait_outlives_the_limit": 2097,
    "suppress_unknown_lets_through": 2112, "transactional_asks_consent": 2037,
    "quiet_hours_one_hour_off_in_summer": 2160, "cap_off_by_one": 2144, "cap_window_closed_at_the_start": 2039,
    "all_candidates_at_once": 2039, "deadline_from_the_last_deferral": 2172, "failed_messages_count": 2049,
    "completed_cancels": 2087, "replay_is_delivered": 2121,
    "forbidden_by_now_stays": 2144, "handed_over_is_cancelled": 2039,
    "calendar_days_in_utc": (3004, "local_waits"), "until_on_any_day": (3004, "local_waits"), "holidays_are_open": (3006, "local_waits"),
    "past_date_goes_on": (3014, "local_waits"),
    "time_alone_is_not_looked_at": (2013, "waits"), "all_must_hold_together": (2018, "waits"),
    "the_last_true_condition_wins": (2015, "waits"),
    "frozen_clocks_run": (2111, "control"), "pause_lets_in": (2001, "control"), "pause_lets_go_on": (2140, "control"),
    "kill_spares_transactional": (2256, "control"), "stop_withdraws_nothing": (2101, "control"),
    "entering_asks_no_key": (2020, "enters"), "two_enter_as_one": (2002, "enters"),
    "a_jump_too_many": (2002, "jumps"), "rounds_share_a_message_id": (2002, "jumps"),
    "exit_leaves_the_task_open": (3014, "hand_off"), "new_team_without_time": (3007, "hand_off"),
    "arm_before_the_new_team": (3007, "hand_off"), "shows_events_of_later": (3028, "hand_off"),
    "task_completed_twice": (3028, "hand_off"), "only_the_journey_is_held": (3028, "hand_off"),
    "held_until_the_deadline": (3028, "hand_off"), "transactional_is_held": (3021, "hand_off"),
    "merge_leaves_the_task_open": (3052, "hand_off"), "second_acceptance_wins": (3125, "hand_off"),
    "value_is_not_asked": (2006, "values"), "unknown_value_goes_first": (2006, "values"),
    "window_on_any_day": (2000, "hours"), "unknown_jurisdiction_lets_through": (2002, "hours"), "silence_is_consent": (2017, "hours"),
    "calendar_of_utc": (2002, "caps"), "week_from_sunday": (2002, "caps"), "each_journey_counts_all": (2005, "caps"), "topic_is_the_purpose": (2034, "caps"),
    "late_answer_counts": (5051, "calls"), "any_type_is_taken": (5084, "calls"), "call_asks_no_consent": (5084, "calls"),
    "refused_call_waits": (5084, "calls"), "nobody_withdraws_the_unanswered": (5084, "calls"), "exit_leaves_the_call": (5004, "calls"),
    "merge_forgets_the_call": (5051, "calls"),
    "late_event_triggers": (4031, "entries"), "goal_reached_enters_again": (4108, "entries"), "replaced_goes_on": (4063, "entries"),
    "change_from_any_value": (4059, "entries"), "past_date_enters": (4000, "entries"),
    "map_forgets_the_clock": (2003, "versions"),
    "the_latest_is_the_earliest": (4002, "merges"),
    "everybody_enters_for_the_account": (6000, "accounts"), "segments_of_everybody": (6000, "accounts"),
    "group_says_nothing": (6000, "accounts"), "account_as_sent": (6001, "accounts"),
    "who_left_still_runs": (4001, "exits"),
    "last_steps_keep_the_queue": (4002, "exits"),
    "last_step_asks_nobody": (4001, "exits"),
    "who_left_is_still_inside": (4002, "exits"),
    "programme_asked_after_the_journey": (2002, "holdouts"), "programme_assigns_anew": (2002, "holdouts"),
    "step_holdout_of_dropped_messages": (2002, "holdouts"), "step_holdout_forgets_the_ledger": (2002, "holdouts"),
    "waiting_channel_before_an_open_one": (2006, "best_channel"), "channel_that_opens_last": (2004, "best_channel"),
    "cost_is_not_weighed": (2000, "best_channel"), "more_responses_than_messages": (2002, "best_channel"),
    "channel_chosen_before_consent": (2000, "best_channel"),
    "suppression_ends_late": (2118, "suppressions"), "suppression_does_not_end": (2018, "suppressions"),
    "ended_for_every_reason": (2025, "suppressions"), "every_channel_is_none": (2018, "suppressions"),
    "schedule_of_utc": (5000, "schedules"), "schedule_takes_everybody": (5000, "schedules"),
    "entry_is_now": (5000, "at_entry"), "nothing_is_kept_at_entry": (5000, "at_entry"), "experiments_draw_alike": (5007, "experiments"),
}  # fmt: skip
"""The fault's name -> the seed of a small world (of the size ``SMALL``) that shows it, with the name of the addition that
the world has, if any."""


@contextmanager
def planted(slips: tuple[Slip, ...]) -> Iterator[None]:
    """The engine with these mistakes in it."""
    with ExitStack() as stack:
        stack.callback(_forget)
        for place in dict.fromkeys(slip.place for slip in slips):
            stack.enter_context(_in_place(place, [slip for slip in slips if slip.place == place]))
        _forget()
        yield


def _forget() -> None:
    """Steps that are made once for all programs are made again."""
    for stage in (control, entering, walking, calls, effects, tasks):
        for made in vars(stage).values():
            if isinstance(made, _lru_cache_wrapper):
                made.cache_clear()


def _in_place(place: str, slips: list[Slip]) -> Any:
    path, _, name = place.partition(":")
    module = importlib.import_module("cadenza." + path.rpartition(".")[0].replace("/", "."))
    if not name:
        text = _slipped((SOURCE / path).read_text(encoding="utf-8"), slips)
        return patch.object(module, "_SCRIPT", Script(module._SCRIPT.room, text))
    function: Any = module
    for part in name.split("."):
        function = getattr(function, part)
    source = _slipped(textwrap.dedent(inspect.getsource(function)), slips)
    return _other_code(function, _made(module, source, function.__name__))


@contextmanager
def _other_code(function: Any, wrong: Any) -> Iterator[None]:
    """Whoever has imported the function runs the wrong one."""
    right, function.__code__ = function.__code__, wrong.__code__
    try:
        yield
    finally:
        function.__code__ = right


def _made(module: ModuleType, source: str, name: str) -> Callable[..., Any]:
    names = dict(vars(module))
    exec(compile(f"from __future__ import annotations\n{source}", module.__file__ or "", "exec"), names)
    return names[name]


def _slipped(text: str, slips: list[Slip]) -> str:
    for slip in slips:
        assert slip.right in text, f"{slip.place} has no longer: {slip.right}"
        text = text.replace(slip.right, slip.wrong)
    return text
