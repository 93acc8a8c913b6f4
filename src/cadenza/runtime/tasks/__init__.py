"""The work on tasks: what is open and for whom, and what people say of it, which is a record of the log."""

from cadenza.runtime.tasks.desk import TaskDesk as TaskDesk
from cadenza.runtime.tasks.views import (
    RecentEvent as RecentEvent,
    TaskChange as TaskChange,
    TaskMove as TaskMove,
    TaskReceipt as TaskReceipt,
    TaskRow as TaskRow,
    TaskShown as TaskShown,
    TaskWanted as TaskWanted,
    TeamFigures as TeamFigures,
)
