"""What checks find, with the line it is about."""

from __future__ import annotations

from cadenza.definitions.expression import Expr, Type
from cadenza.definitions.project import Location
from cadenza.definitions.typecheck import Scope, TypeCheck
from cadenza.errors import Problem, near_miss

NOWHERE = Location("cadenza.yaml", 1)


class Findings:
    """Collects problems and warnings. A part of a definition is named by its path: ``entry.when``,
    ``steps.2.branch.arms.0``; where it was not written itself, the nearest part around it is meant."""

    def __init__(
        self, locations: dict[tuple[str, str], Location], places: dict[tuple[str, str, str], Location]
    ) -> None:
        self._locations = locations
        self._places = places
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def at(self, kind: str, name: str, path: str) -> Location:
        """Where a part of a definition is written."""
        while path:
            if found := self._places.get((kind, name, path)):
                return found
            path = path.rpartition(".")[0]
        return self._locations.get((kind, name), NOWHERE)

    def said(self, kind: str, name: str, path: str) -> bool:
        """Whether a key was written (rather than left to its default)."""
        return (kind, name, path) in self._places

    def problem(self, what: str, kind: str, name: str, path: str, remedy: str | None = None) -> None:
        where = self.at(kind, name, path)
        self.problems.append(Problem(what=what, file=where.file, line=where.line, remedy=remedy))

    def warning(
        self, what: str, kind: str, name: str, path: str, remedy: str | None = None, code: str | None = None
    ) -> None:
        where = self.at(kind, name, path)
        self.warnings.append(Problem(what=what, file=where.file, line=where.line, remedy=remedy, code=code))

    def liquid(self, what: str, template: str, path: str, line: int, remedy: str | None = None) -> None:
        """A problem on a line (from 0) of a template's subject or body."""
        text = self._places.get(("templates", template, f"{path}.text"))
        where = text or self.at("templates", template, path)
        at = where.line + line if text else where.line
        self.problems.append(Problem(what=what, file=where.file, line=at, remedy=remedy))

    def expression(self, scope: Scope, tree: Expr, kind: str, name: str, path: str) -> Type | None:
        """Type-check an expression; its type where it has one."""
        checking = TypeCheck(scope)
        found = checking.type(tree)
        self._keep(checking, kind, name, path)
        return found

    def condition(self, scope: Scope, tree: Expr, kind: str, name: str, path: str) -> None:
        """Type-check an expression that must be a condition."""
        checking = TypeCheck(scope)
        checking.boolean(tree)
        self._keep(checking, kind, name, path)

    def event(self, scope: Scope, event: str, kind: str, name: str, path: str) -> bool:
        """Whether a contract speaks of the event; a problem where none does."""
        checking = TypeCheck(scope)
        known = checking.known_event(event)
        self._keep(checking, kind, name, path)
        return known

    def reference(self, noun: str, wanted: str, known: object, kind: str, name: str, path: str) -> None:
        """A problem where a name is not known; ``known`` is a collection of names."""
        names = list(known)  # type: ignore[call-overload]
        if wanted and wanted not in names:
            remedy = near_miss(wanted, names) or f"There is no {noun} yet."
            self.problem(f"Unknown {noun} '{wanted}'.", kind, name, path, remedy)

    def _keep(self, checking: TypeCheck, kind: str, name: str, path: str) -> None:
        for error in checking.errors:
            self.problem(error.what, kind, name, path, error.remedy)
