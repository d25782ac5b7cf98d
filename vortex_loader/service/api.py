"""The HTTP API: anyone may read, a writer needs a token. Names are in the query, since they may contain slashes."""

from dataclasses import asdict
from importlib.resources import files
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vortex_loader.model import LoaderError
from vortex_loader.service.database import Database, Unknown

Named = Annotated[str, Query(min_length=1, max_length=65_536)]
Rules = Annotated[dict[str, Any], Body(default_factory=dict)]
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


_MOST_BYTES = 1 << 20


class _Limited:
    """The application, which reads no more than a mebibyte of a request: who may not write sends a body, too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        total = 0

        async def counted() -> Message:
            nonlocal total
            message = await receive()
            total += len(message.get("body", b""))
            if total > _MOST_BYTES:
                raise HTTPException(413, f"more than {_MOST_BYTES} bytes")
            return message

        await self._app(scope, counted, send)


def make_app(database: Database) -> FastAPI:
    """The service over one database."""
    app = FastAPI(title="Vortex catalogue", version="1", docs_url=None, redoc_url=None)
    app.add_middleware(_Limited)

    def writer(authorization: Annotated[str | None, Header()] = None) -> str:
        scheme, _, token = (authorization or "").partition(" ")
        who = database.writer(token.strip()) if scheme.lower() == "bearer" else None
        if who is None:
            raise HTTPException(
                401, "writing takes a token: vortex-loader catalog token NAME", {"WWW-Authenticate": "Bearer"}
            )
        return who

    Writer = Annotated[str, Depends(writer)]

    @app.exception_handler(Unknown)
    def unknown(request: Request, problem: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(problem)}, 404)

    @app.exception_handler(LoaderError)
    def wrong(request: Request, problem: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(problem)}, 422)

    @app.get("/v1/catalog", summary="The whole catalogue, as the loader reads it")
    def catalog(response: Response, if_none_match: Annotated[str | None, Header()] = None) -> Any:
        tag = f'"{database.revision()}"'
        if if_none_match == tag:
            return Response(status_code=304, headers={"ETag": tag})
        response.headers["ETag"] = tag
        response.headers["Cache-Control"] = "no-cache"
        return database.document()

    @app.get("/v1/changes", summary="Who changed what, the newest first")
    def changes(most: Annotated[int, Query(ge=1, le=500)] = 50) -> list[dict[str, Any]]:
        return [asdict(change) for change in database.changes(most)]

    @app.put("/v1/default", status_code=204, summary="The rules that count for every customer")
    def put_default(who: Writer, rules: Rules) -> None:
        database.put_default(who, rules)

    @app.put("/v1/customers", status_code=204, summary="Add a customer, or change its rules")
    def put_customer(who: Writer, customer: Named, rules: Rules) -> None:
        database.put_customer(who, customer, rules)

    @app.delete("/v1/customers", status_code=204, summary="Remove a customer with its events")
    def remove_customer(who: Writer, customer: Named) -> None:
        database.remove_customer(who, customer)

    @app.put("/v1/events", status_code=204, summary="Load this event of this customer from now on")
    def put_event(who: Writer, customer: Named, event: Named, rules: Rules) -> None:
        database.put_event(who, customer, event, rules)

    @app.delete("/v1/events", status_code=204, summary="Load it no more; what is loaded stays")
    def remove_event(who: Writer, customer: Named, event: Named) -> None:
        database.remove_event(who, customer, event)

    @app.get("/livez", include_in_schema=False)
    def livez() -> dict[str, int]:
        return {"revision": database.revision()}

    @app.get("/", include_in_schema=False)
    def page() -> HTMLResponse:
        return HTMLResponse(_file("page.html"), headers={"Content-Security-Policy": _PAGE_POLICY})

    @app.get("/page.js", include_in_schema=False)
    def script() -> Response:
        return Response(_file("page.js"), media_type="text/javascript")

    @app.get("/page.css", include_in_schema=False)
    def style() -> Response:
        return Response(_file("page.css"), media_type="text/css")

    return app


def _file(name: str) -> str:
    return files("vortex_loader.service").joinpath(name).read_text("utf-8")
