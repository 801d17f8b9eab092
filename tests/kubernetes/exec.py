"""Runs a program in a pod through the platform's API: Kubernetes' v5.channel.k8s.io by Python's websockets.

exec.py URL CA HEADER_FILE; standard input and output are the program's, and so is the exit code.
"""
import asyncio
import json
import ssl
import sys

import websockets

try:  # its name since version 14
    from websockets.asyncio.client import connect
    HEADERS = "additional_headers"
except ImportError:
    connect = websockets.connect
    HEADERS = "extra_headers"


async def main(url, ca, header_file):
    with open(header_file, encoding="utf-8") as file:
        name, value = file.read().strip().split(": ", 1)
    context = ssl.create_default_context(cafile=ca)
    more = {HEADERS: {name: value}, "subprotocols": ["v5.channel.k8s.io"], "max_size": None}
    async with connect(url, ssl=context, **more) as socket:
        writer = asyncio.create_task(send(socket))
        code = 255
        async for message in socket:
            channel, data = message[0], message[1:]
            if channel == 1:
                sys.stdout.buffer.write(data)
            elif channel == 2:
                sys.stderr.buffer.write(data)
            elif channel == 3:
                code = exit_code(json.loads(data))
        writer.cancel()
        sys.stdout.flush()
        return code


def exit_code(status):
    if status["status"] == "Success":
        return 0
    causes = status.get("details", {}).get("causes", [])
    codes = [int(cause["message"]) for cause in causes if cause["reason"] == "ExitCode"]
    return codes[0] if codes else 255


async def send(socket):
    loop = asyncio.get_running_loop()
    while data := await loop.run_in_executor(None, sys.stdin.buffer.read, 30_000):
        await socket.send(b"\0" + data)
    await socket.send(b"\xff\0")


sys.exit(asyncio.run(main(*sys.argv[1:])))
