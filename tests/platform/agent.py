"""An agent that is none of ours: the reference's connection and messages by Python's websockets.

Each line of standard input is sent as it is; each message that comes is a line of standard output. Usage:
agent.py URL CA TOKEN_FILE CLUSTER_ID [HEADER VALUE]...
"""
import asyncio
import ssl
import sys

import websockets

try:  # its name since version 14
    from websockets.asyncio.client import connect
    HEADERS = "additional_headers"
except ImportError:
    connect = websockets.connect
    HEADERS = "extra_headers"


async def main(url, ca, token_file, cluster_id, *more):
    with open(token_file, encoding="utf-8") as file:
        token = file.read().strip()
    headers = {"Authorization": f"Bearer {token}", "X-Cluster-ID": cluster_id}
    headers.update(zip(more[::2], more[1::2]))
    context = ssl.create_default_context(cafile=ca)
    async with connect(url, ssl=context, max_size=4 << 20, **{HEADERS: headers}) as socket:
        reader = asyncio.create_task(send(socket))
        async for message in socket:
            print(message, flush=True)
        reader.cancel()


async def send(socket):
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await socket.send(line.rstrip("\n"))
    await socket.close()


asyncio.run(main(*sys.argv[1:]))
