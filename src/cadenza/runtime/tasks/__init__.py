"""The work on tasks: what is open and for whom, and what people say of it, which is a record of the log."""

from cadenza.runtime.tasks.desk import TaskDesk as TaskDesk
from cadenza.runtime.tasks.views import (
    RecentEvent as RecentEvent,
)
from cadenza.runtime.tasks.views import (
    TaskChange as TaskChange,
)
from cadenza.runtime.tasks.views import (
    TaskMove as TaskMove,
)
from cadenza.runtime.tasks.views import (
    TaskReceipt as TaskReceipt,
)
from cadenza.runtime.tasks.views import (
    TaskRow as TaskRow,
)
from cadenza.runtime.tasks.views import (
    TaskShown as TaskShown,
)
from cadenza.runtime.tasks.views import (
    TaskWanted as TaskWanted,
)
from cadenza.runtime.tasks.views import (
    TeamFigures as TeamFigures,
)
