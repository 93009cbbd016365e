"""AsyncSSH as a server: the subsystem `test-echo`, on a free port that the first line tells.

Arguments: host-key authorized-keys rekey-bytes.
"""

import asyncio
import sys

import asyncssh

PIECE = 256 * 1024
STATUS = 7


async def echo(process):
    if process.subsystem != "test-echo":
        process.exit(1)
        return
    while piece := await process.stdin.read(PIECE):
        process.stdout.write(piece)
        await process.stdout.drain()
    process.exit(STATUS)


async def main(host_key, authorized_keys, rekey_bytes):
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[host_key], authorized_client_keys=authorized_keys,
        process_factory=echo, encoding=None, rekey_bytes=int(rekey_bytes),
    )
    print(f"listening on 127.0.0.1:{server.get_port()}", flush=True)
    await server.wait_closed()


asyncio.run(main(*sys.argv[1:]))
