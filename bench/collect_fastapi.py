"""The peer of ``bench/collect.py``: FastAPI + pydantic, written as its documentation teaches, on our group commit."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import BaseModel, Field

from cadenza.runtime.collect import Collector
from cadenza.runtime.receipt import Receipt, write_receipt


class Product(BaseModel):
    product_id: str
    sku: str | None = None
    price: float | None = None
    quantity: int | None = None


class Order(BaseModel):
    order_id: str = Field(max_length=64)
    revenue: float = Field(ge=0)
    currency: Literal["EUR", "GBP", "USD"] | None = None
    products: list[Product] = []


class Event(BaseModel):
    type: str
    event: str
    messageId: str = Field(max_length=100)
    userId: str | None = None
    anonymousId: str | None = None
    timestamp: datetime
    properties: Order
    context: dict[str, Any] = {}


class Events(BaseModel):
    batch: list[Event]
    sentAt: datetime | None = None


class Success(BaseModel):
    success: bool = True


def fastapi_app(collector: Collector, key: str) -> FastAPI:
    """An application with /v1/track and /v1/batch."""
    app = FastAPI()
    basic = HTTPBasic()

    def source(credentials: Annotated[HTTPBasicCredentials, Depends(basic)]) -> str:
        if credentials.username != key:
            raise HTTPException(401)
        return "web"

    async def durable(events: list[Event], source: str) -> Success:
        body = Events.model_construct(batch=events).model_dump_json(exclude_none=True).encode()
        await collector.keep(collector.received_at(), write_receipt(Receipt(source)), body)
        return Success()

    @app.post("/v1/track")
    async def track(event: Event, source: Annotated[str, Depends(source)]) -> Success:
        return await durable([event], source)

    @app.post("/v1/batch")
    async def batch(events: Events, source: Annotated[str, Depends(source)]) -> Success:
        return await durable(events.batch, source)

    return app
