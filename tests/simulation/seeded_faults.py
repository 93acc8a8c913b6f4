"""Faults to plant in the engine, to see that the comparison with the reference model finds them.

Each names the rule of ``docs/explanation/semantics.md`` that it breaks and where the engine keeps that rule. Who wires
them gives each a rewriting of the stage's SQL (or of the constant) and runs ``test_engine_agrees`` over ``SEEDS``; a
fault that no seed finds means that the worlds are too tame, not that the fault is harmless.
"""

from __future__ import annotations

import msgspec


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to get wrong. ``room``: the engine's room that has the rule; ``shows_in``: the first kinds of row
    (of ``Model.observations()``) in which a world may show it."""

    name: str
    rule: str
    room: str
    wrong: str
    shows_in: tuple[str, ...]
    addition: str = ""
    """The part of the language that a world must have to show it (``simulate/additions``)."""


FAULTS: tuple[Fault, ...] = (
    Fault(name="window_closed_at_the_start", rule="Time: windows count (now - within, now]", room="sql/expression.py aggregate()",
          wrong="occurred_at + within >= now instead of > now (in the count, not in check_at, which would stand still)", shows_in=("memberships", "enrollments")),
    Fault(name="check_at_forgets_older_than", rule="9 check_at", room="stages/segments", wrong="only windows of aggregates set check_at",
          shows_in=("memberships",)),
    Fault(name="merge_keeps_the_latest", rule="2 merge", room="stages/identity", wrong="the latest entered_at stays, the earliest ends merged",
          shows_in=("ends", "enrollments")),
    Fault(name="merge_triggers", rule="2 merge: never a trigger", room="stages/identity, stages/journeys",
          wrong="an entered row with cause merged makes a candidate", shows_in=("enrollments", "refusals")),
    Fault(name="survivor_is_the_largest", rule="1 identity: the smallest pid", room="stages/identity", wrong="max(pid) survives",
          shows_in=("identifiers",)),
    Fault(name="email_keeps_its_case", rule="1 identity: trimmed and lower-cased", room="stages/events, identifiers of a record",
          wrong="the e-mail address is compared as sent", shows_in=("identifiers",)),
    Fault(name="tie_grants_consent", rule="5 consent: if several share it, granted only if all grant", room="stages/profiles",
          wrong="bool_or instead of bool_and over the latest statements", shows_in=("decisions", "memberships")),
    Fault(name="late_statement_wins", rule="5 consent: greatest occurred_at", room="stages/profiles", wrong="the last one recorded is in force",
          shows_in=("decisions", "memberships")),
    Fault(name="late_trait_wins", rule="4 traits: greatest (occurred_at, offset)", room="stages/profiles", wrong="the last one recorded is the value",
          shows_in=("traits",)),
    Fault(name="exits_after_steps", rule="10.1 before 10.4", room="stages/journeys", wrong="goal and disqualified are looked at after going on",
          shows_in=("transitions", "ends")),
    Fault(name="disqualified_before_goal", rule="10.1 in that order", room="stages/journeys", wrong="disqualified is asked first", shows_in=("ends",)),
    Fault(name="null_takes_otherwise", rule="Branch: NULL takes unknown", room="stages/journeys, hops", wrong="a NULL arm is treated as FALSE",
          shows_in=("transitions",)),
    Fault(name="record_before_timer", rule="Time: a timer due at T comes before a record recorded at T", room="runtime/wave.py",
          wrong="at one instant the record is the first item", shows_in=("transitions", "ends")),
    Fault(name="arrival_sees_the_event", rule="10.4: event(...) taken as FALSE on arrival", room="stages/journeys, hops",
          wrong="a wait_for reached in this item is matched by the item's event", shows_in=("transitions",)),
    Fault(name="holdout_bucket_off", rule="10.2 holdout: bucket < share_bp", room="stages/journeys", wrong="bucket <= share_bp / 2", shows_in=("assignments",)),
    Fault(name="re_entry_counts_from_the_exit", rule="10.2: entered_at + again_after > now", room="stages/journeys",
          wrong="the end's ts + again_after", shows_in=("refusals", "enrollments")),
    Fault(name="overdue_blocks_re_entry", rule="10.2: not overdue in (1)", room="stages/journeys", wrong="an overdue enrollment counts as running",
          shows_in=("refusals",)),
    Fault(name="priority_tie_lets_in", rule="10.2 arena: at least as high", room="stages/journeys", wrong="> instead of >=", shows_in=("refusals", "enrollments")),
    Fault(name="supersedes_across_arenas", rule="10.3: in its arena", room="stages/journeys", wrong="the arena is not compared", shows_in=("ends",)),
    Fault(name="wait_outlives_the_limit", rule="10.4: never later than entered_at + time_limit", room="stages/journeys",
          wrong="wake_at is not clamped", shows_in=("enrollments", "ends")),
    Fault(name="suppress_unknown_lets_through", rule="11: suppress TRUE or NULL", room="stages/governance", wrong="NULL is let through", shows_in=("decisions",)),
    Fault(name="transactional_asks_consent", rule="11: transactional is sent", room="stages/governance", wrong="consent is asked of every class",
          shows_in=("decisions",)),
    Fault(name="quiet_hours_one_hour_off_in_summer", rule="11 quiet hours, exact across daylight saving", room="stages/governance, tz_rule",
          wrong="until uses the offset at now, not the one at until", shows_in=("decisions",)),
    Fault(name="cap_off_by_one", rule="11 caps: a cap is full at its limit", room="stages/governance", wrong="count > limit instead of >=", shows_in=("decisions", "messages")),
    Fault(name="cap_window_closed_at_the_start", rule="11 caps: (now - per, now]", room="stages/governance", wrong="planned_at >= now - per, deferring a microsecond longer (or the deferral would end now, for ever)",
          shows_in=("decisions",)),
    Fault(name="all_candidates_at_once", rule="11 caps: only the first is decided in this item", room="stages/governance",
          wrong="every candidate is decided against the same count", shows_in=("decisions", "messages")),
    Fault(name="deadline_from_the_last_deferral", rule="11: first due is when it first arrived", room="stages/governance",
          wrong="due_since is moved by a deferral", shows_in=("decisions",)),
    Fault(name="failed_messages_count", rule="11 caps: not failed", room="stages/governance", wrong="failed messages fill the cap", shows_in=("decisions",)),
    Fault(name="completed_cancels", rule="10.5: goal, disqualified, superseded, time limit", room="stages/effects",
          wrong="completed cancels what was not handed over", shows_in=("cancellations",)),
    Fault(name="forbidden_by_now_stays", rule="12: consent or suppression forbids by now: cancelled", room="stages/effects",
          wrong="only ended enrollments cancel", shows_in=("cancellations",)),
    Fault(name="handed_over_is_cancelled", rule="10.5: messages that were not handed over", room="stages/effects",
          wrong="delivery's reports are not looked at", shows_in=("cancellations",)),
    Fault(name="replay_is_delivered", rule="messages planned while history is replayed are not deliverable", room="stages/effects",
          wrong="deliverable is always true", shows_in=("messages",)),
    Fault(name="calendar_days_in_utc", rule="Waits in local time: calendar days", room="stages/journeys/waiting", wrong="the day is that of UTC",
          shows_in=("transitions", "enrollments")),
    Fault(name="until_on_any_day", rule="Waits in local time: until, on", room="stages/journeys/waiting", wrong="today counts whatever day it is",
          shows_in=("transitions", "enrollments")),
    Fault(name="holidays_are_open", rule="Waits in local time: business hours", room="stages/journeys/waiting", wrong="holidays are not looked at",
          shows_in=("transitions", "enrollments")),
    Fault(name="past_date_goes_on", rule="Waits in local time: past", room="stages/journeys/waiting", wrong="a date in the past is taken as reached",
          shows_in=("transitions", "ends")),
    Fault(name="time_alone_is_not_looked_at", rule="13 check_at", room="stages/journeys/rechecking",
          wrong="exits and waits are looked at with other items only", shows_in=("transitions", "ends"), addition="waits"),
    Fault(name="entering_asks_no_key", rule="10.2: the enrollment's key", room="stages/journeys/entering", wrong="the key is not passed on",
          shows_in=("enrollments", "refusals"), addition="enters"),
    Fault(name="two_enter_as_one", rule="10.2 re-entry: running", room="stages/journeys/entering", wrong="two enrollments that enter one journey in one item both do",
          shows_in=("refusals", "enrollments"), addition="enters"),
    Fault(name="a_jump_too_many", rule="10.4 jump: fewer than at_most times", room="definitions/graph.py", wrong="at_most + 1 times",
          shows_in=("transitions", "ends"), addition="jumps"),
    Fault(name="rounds_share_a_message_id", rule="What a send sees: message_id", room="sql/program.py", wrong="the round is not in the id",
          shows_in=("messages",), addition="jumps"),
    Fault(name="all_must_hold_together", rule="10.4: what was TRUE once stays so", room="stages/journeys/keeping",
          wrong="a wait for all forgets what came true at earlier items", shows_in=("transitions",), addition="waits"),
    Fault(name="the_last_true_condition_wins", rule="10.4: the first TRUE one in order gives the way on", room="definitions/graph.py",
          wrong="the last one in order gives it", shows_in=("transitions",), addition="waits"),
    Fault(name="frozen_clocks_run", rule="C1 pause, freeze: shifted by the length of the pause", room="stages/journeys/control",
          wrong="wake_at is not shifted", shows_in=("transitions", "enrollments")),
    Fault(name="pause_lets_in", rule="C1 pause: candidates are refused", room="stages/journeys/control", wrong="they enter",
          shows_in=("enrollments", "refusals")),
    Fault(name="pause_lets_go_on", rule="C1 pause: nobody inside moves", room="runtime/wave.py", wrong="who is matched goes on",
          shows_in=("transitions",)),
    Fault(name="kill_spares_transactional", rule="11 killed, before every other rule", room="stages/governance",
          wrong="only marketing is dropped", shows_in=("decisions",)),
    Fault(name="stop_withdraws_nothing", rule="C2 stop: messages not handed over are cancelled", room="stages/journeys/control",
          wrong="they stay", shows_in=("cancellations",)),
    Fault(name="second_acceptance_wins", rule="T1: the first in the log has it", room="stages/tasks", wrong="an accepted task can be accepted by another",
          shows_in=("task_changes",)),
    Fault(name="task_completed_twice", rule="T1: a task that has ended is not completed again", room="stages/tasks", wrong="how it ended is not looked at",
          shows_in=("task_changes",)),
    Fault(name="arm_before_the_new_team", rule="T2: with escalate it stays open", room="stages/tasks", wrong="the breached arm is taken at the first breach",
          shows_in=("transitions", "task_changes", "enrollments")),
    Fault(name="new_team_without_time", rule="T2: breached a second time when the new team's time is up", room="stages/tasks", wrong="the new team's time is the first one's",
          shows_in=("task_changes",)),
    Fault(name="exit_leaves_the_task_open", rule="T3: withdrawn with the reason", room="stages/tasks", wrong="tasks of ended passages stay open",
          shows_in=("task_changes",)),
    Fault(name="merge_leaves_the_task_open", rule="T3: in any way", room="stages/tasks", wrong="a passage ended by a merge keeps its task",
          shows_in=("task_changes",)),
    Fault(name="only_the_journey_is_held", rule="T4: over all journeys", room="stages/tasks", wrong="only messages of the task's journey wait",
          shows_in=("decisions",)),
    Fault(name="transactional_is_held", rule="T4: transactional messages pass", room="stages/tasks", wrong="every class waits",
          shows_in=("decisions",)),
    Fault(name="held_until_the_deadline", rule="T4: due in the item in which the task has ended", room="stages/tasks", wrong="the end of a task releases nothing",
          shows_in=("decisions",)),
    Fault(name="shows_events_of_later", rule="Tasks: recorded before this instant", room="stages/tasks", wrong="whatever of the person is in the store or the queue",
          shows_in=("tasks",)),
)  # fmt: skip
SEEDS = range(200, 240)
"""Worlds in which every fault should show at least once; the worlds of the agreement test are others."""
