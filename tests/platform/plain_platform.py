"""A platform that is none of ours: it knows the reference's messages and no welcome.

plain_platform.py CERT KEY: prints its port, then each message of the agent as a line; each line of standard input is sent as it is.
"""
import asyncio
import ssl
import sys

import websockets

try:  # its name since version 14
    from websockets.asyncio.server import serve
except ImportError:
    serve = websockets.serve


async def agent(socket, *_):
    sender = asyncio.create_task(send(socket))
    async for message in socket:
        print(message, flush=True)
    sender.cancel()


async def send(socket):
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await socket.send(line.rstrip("\n"))


async def main(cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    async with serve(agent, "127.0.0.1", 0, ssl=context) as server:
        print(list(server.sockets)[0].getsockname()[1], flush=True)
        await asyncio.Future()


asyncio.run(main(*sys.argv[1:]))
