"""localstripe on a loopback port; writes it to FOLDER/port once it listens.

    local_stripe.py FOLDER

localstripe's own command listens to everybody and keeps its objects in one
file for the whole machine; tests want neither.
"""

import asyncio
import os
import sys

from aiohttp import web
from localstripe import resources
from localstripe.server import app


async def main():
    folder = sys.argv[1]
    resources.Store.dump_to_disk = lambda store: None
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    path = os.path.join(folder, "port")
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(str(site._server.sockets[0].getsockname()[1]))
    os.rename(path + ".new", path)
    await asyncio.Event().wait()


asyncio.run(main())
