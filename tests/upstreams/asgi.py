"""An ASGI application for uvicorn: good, slow or leaving, by the request's path."""

import asyncio
import os


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    if scope["path"].startswith("/sleep/"):
        await asyncio.sleep(3)
    elif scope["path"].startswith("/exit-early/"):
        os._exit(3)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
    await send({"type": "http.response.body", "body": b"ok\n"})
