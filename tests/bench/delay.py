#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright the lacunafs authors
"""delay.py PORT MS: a proxy on loopback before 127.0.0.1:PORT, whose round trip takes MS
milliseconds more: the kernel here has no netem. Prints its own port."""
import asyncio
import contextlib
import sys


async def pump(reader, writer, seconds):
    """Each piece leaves `seconds` after it came, whatever is behind it."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue(256)

    async def deliver():
        while True:
            at, piece = await queue.get()
            await asyncio.sleep(max(0, at - loop.time()))
            if not piece:
                writer.close()
                return
            writer.write(piece)
            await writer.drain()
    delivery = asyncio.ensure_future(deliver())
    piece = b" "
    while piece:
        piece = b""
        with contextlib.suppress(OSError):
            piece = await reader.read(1 << 18)
        await queue.put((loop.time() + seconds, piece))
    with contextlib.suppress(OSError):
        await delivery


async def main(port, milliseconds):
    half = milliseconds / 2000

    async def connected(reader, writer):
        back, forth = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, forth, half), pump(back, writer, half))
    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
