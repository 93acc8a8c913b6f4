"""The contracts of a project as a whole: listed, shown, drafted from traffic, brought in and taken out."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from cadenza.clock import to_micros
from cadenza.definitions import odcs, segment_plan
from cadenza.definitions.builtin import BUILTIN_CONTRACTS
from cadenza.definitions.contract_fields import declared, json_schema
from cadenza.definitions.contract_text import as_yaml, plain_yaml
from cadenza.definitions.kinds import Contract
from cadenza.definitions.lineage import Reader, readers
from cadenza.definitions.project import Project, version_of
from cadenza.definitions.yaml_tree import Mapping, Scalar, Tree, read_text, read_yaml
from cadenza.errors import CadenzaError, OperatingError, near_miss
from cadenza.ports.ledger import Log
from cadenza.runtime.contract_impact import RECENT_RECORDS, recent_records
from cadenza.runtime.contract_infer import infer

Format = Literal["odcs", "segment"]
MOST_BYTES = 10 * 1024 * 1024
"""Of a file that is brought in."""


class ContractSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One contract of the list. ``content`` is its content address."""

    name: str
    version: str
    compatibility: str
    owner: str
    fields: int
    required: int
    personal: int
    on_violation: str
    content: str


class FieldView(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a contract, and who reads it."""

    name: str
    type: str
    required: bool
    sensitivity: str
    personal: bool
    purposes: tuple[str, ...]
    owner: str
    description: str
    readers: tuple[Reader, ...]


class ContractView(msgspec.Struct, frozen=True, kw_only=True):
    """A contract with its fields, and the JSON Schema that records are judged by."""

    summary: ContractSummary
    description: str
    fields: tuple[FieldView, ...]
    schema: dict[str, Any]


class ContractText(msgspec.Struct, frozen=True, kw_only=True):
    """Contracts as YAML definitions, how many there are, and what is to be said of them."""

    text: str
    contracts: int
    notes: tuple[str, ...] = ()


class ContractBook:
    """The contracts of the project in ``folder``. ``project`` and ``log`` are asked when they are needed."""

    def __init__(self, folder: Path, project: Callable[[], Project], log: Callable[[], Log]) -> None:
        self._folder, self._project, self._log = folder, project, log

    def list(self) -> tuple[ContractSummary, ...]:
        """Every contract of the folder, by name. Raises DefinitionError."""
        return tuple(_summary(contract) for contract in self._project().contracts)

    def show(self, name: str) -> ContractView:
        """One contract. Raises CadenzaError for an unknown one, and DefinitionError."""
        project = self._project()
        known = {contract.name: contract for contract in project.contracts}
        if name not in known:
            raise CadenzaError(f"there is no contract '{name}'.", remedy=near_miss(name, known))
        contract = known[name]
        fields = tuple(
            FieldView(
                name=field, type=said.type, required=said.required, sensitivity=said.sensitivity_class,
                personal=said.is_personal, purposes=said.purposes, owner=said.owner or contract.owner,
                description=said.description, readers=readers(project, name, field),
            )
            for field, said in declared(contract).items()
        )  # fmt: skip
        return ContractView(
            summary=_summary(contract), description=contract.description, fields=fields, schema=json_schema(contract)
        )

    def infer(
        self, source: str | None = None, since: datetime | None = None, most: int = RECENT_RECORDS, new: bool = False
    ) -> ContractText:
        """A draft from the last ``most`` records of the log, of one source and not recorded before ``since``, if said.
        ``new``: only of what no contract speaks of. The same log gives the same draft."""
        records = recent_records(self._log(), most, 0 if since is None else to_micros(since), source)
        spoken = {contract.name for contract in self._project().contracts} if new else set[str]()
        made = {contract.name for contract in BUILTIN_CONTRACTS} - {"Page Viewed", "Screen Viewed"}
        draft = infer(records, but=frozenset(spoken | made))
        head = f"A draft made of {draft.records:,} records: read it before you use it."
        notes = tuple(f"Left out: {what}." for what in draft.left_out)
        text = as_yaml(draft.contracts, draft.remarks, "\n".join((head, *notes)))
        return ContractText(text=text, contracts=len(draft.contracts), notes=notes)

    def export(self, form: Format) -> str:
        """The contracts of the folder as an ODCS 3.1 document (YAML) or a Segment tracking plan (JSON)."""
        project = self._project()
        if form == "odcs":
            return plain_yaml(odcs.write(project.name, project.contracts))
        return json.dumps(segment_plan.write(project.name, project.contracts), indent=2, ensure_ascii=False) + "\n"

    def read(self, file: Path, form: Format) -> ContractText:
        """The contracts of a file in another format, as YAML definitions. Raises OperatingError, CadenzaError."""
        try:
            if file.stat().st_size > MOST_BYTES:
                raise CadenzaError(f"the file has more than {MOST_BYTES:,} bytes.", where=str(file), remedy="Split it.")
            data = file.read_bytes()
        except OSError as error:
            raise OperatingError(f"the file cannot be read: {error.strerror}.", where=str(file)) from None
        try:
            found = odcs.read(_yaml(data)) if form == "odcs" else segment_plan.read(_json(data))
        except CadenzaError as error:
            raise CadenzaError(error.what, where=str(file), remedy=error.remedy) from None
        except (AttributeError, TypeError, ValueError, KeyError, RecursionError):
            what = f"the file does not have the form of {'an ODCS document' if form == 'odcs' else 'a tracking plan'}."
            raise CadenzaError(what, where=str(file)) from None
        text = as_yaml(found.contracts, head=f"Taken from {file.name}: read it before you use it.")
        return ContractText(text=text, contracts=len(found.contracts), notes=found.notes)

    def save(self, text: ContractText, name: str) -> Path:
        """Write definitions to ``contracts/NAME.yaml``. Raises OperatingError when there is such a file: nothing is
        ever overwritten."""
        path = self._folder / "contracts" / f"{Path(name).stem}.yaml"
        path.parent.mkdir(exist_ok=True)
        try:
            with path.open("x", encoding="utf-8") as opened:
                opened.write(text.text)
        except FileExistsError:
            raise OperatingError(
                "there is such a file already.", where=str(path), remedy="Move it away, or print instead of writing."
            ) from None
        return path


def _summary(contract: Contract) -> ContractSummary:
    fields = declared(contract)
    return ContractSummary(
        name=contract.name, version=contract.version, compatibility=contract.compatibility, owner=contract.owner,
        fields=len(fields), required=sum(field.required for field in fields.values()),
        personal=sum(field.is_personal for field in fields.values()), on_violation=contract.on_violation,
        content=version_of(contract),
    )  # fmt: skip


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CadenzaError(f"this is not JSON: {str(error)[:100]}.") from None


def _yaml(data: bytes) -> Any:
    """The one document of a YAML text, read as definitions are: bounded, nothing constructed."""
    text, problems = read_text(data, "", MOST_BYTES)
    documents: list[Tree] = []
    if text is not None:
        documents, problems = read_yaml(text, "")
    if problems:
        raise CadenzaError(f"line {problems[0].line}: {problems[0].what}", remedy=problems[0].remedy)
    if len(documents) != 1:
        raise CadenzaError(f"one YAML document is expected; there are {len(documents)}.")
    return _plain(documents[0])


def _plain(tree: Tree) -> Any:
    if isinstance(tree, Scalar):
        return tree.value
    if isinstance(tree, Mapping):
        return {entry.key: _plain(entry.node) for entry in tree.entries}
    return [_plain(item) for item in tree.items]
