"""What stands before every request: the right host, the right origin, a known user."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from convscope.app.users import Users

# Nothing from elsewhere, nothing inline, and nobody puts this page into a frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
# Pages that convscope wrote, in a frame: their scripts run, but not as this page.
FRAMED = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-scripts"
)
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# Bytes of a request that asks for something.
_ASKED = 1 << 20
_SAFE = frozenset({"GET", "HEAD"})
_STRANGER = (
    "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
    "content='width=device-width'><title>convscope</title><p>Open the address that "
    "<code>convscope app</code> printed: it ends with a key."
)


class Guard:
    """Middleware in front of everything.

    Parameters
    ----------
    app : ASGI application
    users : Users
    loopback : bool
        Only this machine may connect: a request under any other host's name comes from a page that
        made its name point here.
    """

    def __init__(self, app: ASGIApp, users: Users, *, loopback: bool) -> None:
        self.app = app
        self.users = users
        self.loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = self._answer(scope)
        if answer is not None:
            await answer(scope, receive, _with_headers(send))
            return
        await self.app(scope, receive, _with_headers(send))

    def _answer(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.loopback and _name(f"//{host}") not in _LOOPBACK:
            return JSONResponse({"error": "Wrong host."}, 421)
        if scope["method"] not in _SAFE and not _same_origin(headers, host):
            return JSONResponse({"error": "This came from another site."}, 403)
        if _too_long(scope, headers):
            return JSONResponse({"error": "This is too long to be asked for."}, 413)
        user = self.users.known(_cookie(headers, self.users.cookie))
        if user is None and scope["path"] == "/":
            return self._come_in(scope)
        if user is None:
            return JSONResponse({"error": "Open the address that convscope app printed."}, 403)
        scope["user"] = user
        return None

    def _come_in(self, scope: Scope) -> Response:
        query = scope["query_string"].decode("latin-1")
        given = query.removeprefix("key=") if query.startswith("key=") else ""
        if not self.users.is_key(given):
            return Response(_STRANGER, 403, media_type="text/html")
        cookie, _ = self.users.come_in()
        answer = RedirectResponse("/", 303)
        # Lax: the printed address may be followed from a page of another site, and whoever is known
        # must be known then, too. What changes anything asks for the origin.
        answer.set_cookie(
            self.users.cookie, cookie, max_age=365 * 86_400, httponly=True, samesite="lax"
        )
        return answer


def _name(address: str) -> str:
    """The host in it; empty for what is no address."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _cookie(headers: Headers, wanted: str) -> str | None:
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == wanted:
            return value
    return None


def _too_long(scope: Scope, headers: Headers) -> bool:
    """Of what is read as a whole; files are counted while they come in."""
    if scope["method"] != "POST" or scope["path"] == "/api/tables":
        return False
    length = headers.get("content-length", "0" if "transfer-encoding" not in headers else "")
    return not length.isdecimal() or int(length) > _ASKED


def _same_origin(headers: Headers, host: str) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = headers.get("origin")
    try:
        return origin is None or urlsplit(origin).netloc == host
    except ValueError:
        return False


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("content-security-policy", POLICY)
            headers.setdefault("cache-control", "no-store")
            headers["x-content-type-options"] = "nosniff"
            headers["referrer-policy"] = "no-referrer"
            headers["cross-origin-resource-policy"] = "same-origin"
        await send(message)

    return sending
