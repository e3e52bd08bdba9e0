"""What the Python peers share: the settings, the provider, and being ready."""

import json
import os
import socket

import uvicorn

DATABASE_URL = os.environ["DATABASE_URL"]
REDIS_URL = os.environ["REDIS_URL"]
# Checks a token and a limit per user when it is set.
JWT_SECRET = os.environ.get("JWT_SECRET")
# Calls no provider when it is not set.
PROVIDER_URL = os.environ.get("PROVIDER_URL")
SLOTS = int(os.environ.get("SLOTS", "1000"))
# Who asks where no token is checked.
NOBODY = "00000000-0000-4000-8000-000000000000"
MODEL = "gpt-4o-mini"


def prompt(answers: str) -> list[dict]:
    return [{"role": "user", "content": "Answer with a plan as JSON. " + answers}]


async def jsonb(connection) -> None:
    """Columns of JSON are read and written as text: nobody looks into them here."""
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=lambda value: value, decoder=lambda value: value
    )


def ready(**lines: str) -> None:
    """Tells the one who started this process that it is ready."""
    path = os.environ["ADDRESS_FILE"]
    with open(path + ".draft", "w", encoding="utf-8") as file:
        file.writelines(f"{name}={value}\n" for name, value in lines.items())
    os.replace(path + ".draft", path)


def serve(app) -> None:
    """Serves on a free port, in one process, as fast as uvicorn can."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    url = "http://127.0.0.1:%d" % listener.getsockname()[1]

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            ready(PEER_URL=url)

    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
        backlog=2048,
        # Longer than a connection idles when many of them share a slow load.
        timeout_keep_alive=120,
    )
    Server(config).run(sockets=[listener])


def text(value) -> str:
    return json.dumps(value, separators=(",", ":"))
