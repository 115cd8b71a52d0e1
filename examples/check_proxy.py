"""Stands between an example and the broker, and cuts the connection when told to.

python3 check_proxy.py URL      prints the URL to use instead; SIGUSR1 cuts what is connected
"""

import asyncio
import signal
import sys
from urllib.parse import urlsplit


async def forward(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main(url):
    connected = set()

    async def on_connection(reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection(url.hostname, url.port)
        except OSError:
            writer.close()
            return
        connected.update({writer, far_writer})
        await asyncio.gather(forward(reader, far_writer), forward(far_reader, writer))
        connected.difference_update({writer, far_writer})

    def cut():
        for writer in connected:
            writer.transport.abort()

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, cut)
    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    login = f"{url.netloc.rpartition('@')[0]}@" if "@" in url.netloc else ""
    print(url._replace(netloc=f"{login}127.0.0.1:{port}").geturl(), flush=True)
    await server.serve_forever()


asyncio.run(main(urlsplit(sys.argv[1])))
