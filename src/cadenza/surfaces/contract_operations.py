"""The operations of the API on contracts: what records must look like, a draft made of traffic, other formats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from cadenza.surfaces.operation import Operation, Parameter
from cadenza.workspace import ContractFormat, ContractSummary, ContractText, ContractView, Workspace

Arguments = Mapping[str, Any]
MOST_RECORDS = 1_000_000
"""Records that one draft may read."""


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """The contracts in another format: ``text`` is the file."""

    format: str
    text: str


def _list(workspace: Workspace, given: Arguments) -> tuple[ContractSummary, ...]:
    return workspace.contracts.list()


def _show(workspace: Workspace, given: Arguments) -> ContractView:
    return workspace.contracts.show(given["contract"])


def _infer(workspace: Workspace, given: Arguments) -> ContractText:
    return workspace.contracts.infer(given["source"], given["since"], given["records"], given["only"] == "new")


def _export(workspace: Workspace, given: Arguments) -> Exported:
    return Exported(format=given["format"], text=workspace.contracts.export(given["format"]))


CONTRACT_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        path="/api/contracts", name="contracts", group="contracts", answer=tuple[ContractSummary, ...], run=_list,
        summary="The contracts of the project folder",
    ),
    Operation(
        path="/api/contracts/draft", name="contract_draft", group="contracts", answer=ContractText, run=_infer,
        summary="A draft of contracts made of the last records of the log, as definitions to read before use",
        parameters=(
            Parameter(name="source", place="query", meaning="Only records of this source."),
            Parameter(name="since", place="query", kind="date-time", meaning="Only records since this instant."),
            Parameter(
                name="records", place="query", kind="integer", default=100_000, maximum=MOST_RECORDS,
                meaning=f"How many records at most, the last ones; never more than {MOST_RECORDS}.",
            ),
            Parameter(
                name="only", place="query", enum=("all", "new"),
                meaning="`new`: only what no contract speaks of; without it everything.",
            ),
        ),
    ),
    Operation(
        path="/api/contracts/export", name="contract_export", group="contracts", answer=Exported, run=_export,
        summary="The contracts of the project folder in another format",
        parameters=(
            Parameter(
                name="format", place="query", enum=get_args(ContractFormat), required=True,
                meaning="`odcs`: Open Data Contract Standard 3.1, YAML. `segment`: a Segment tracking plan, JSON.",
            ),
        ),
    ),
    Operation(
        path="/api/contracts/{contract}", name="contract", group="contracts", answer=ContractView, run=_show,
        summary="One contract: its fields, how sensitive each is, what for, who reads it, and its JSON Schema",
        parameters=(
            Parameter(name="contract", place="path", meaning="The contract's name.", example="Order Completed"),
        ),
    ),
)  # fmt: skip
