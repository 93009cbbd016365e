"""AsyncSSH as a client: one subsystem between standard input and standard output.

Arguments: address port user key known-hosts subsystem cipher rekey-bytes; `-` leaves a choice open.
"""

import asyncio
import os
import sys

import asyncssh

PIECE = 256 * 1024


async def feed(process):
    loop = asyncio.get_running_loop()
    while piece := await loop.run_in_executor(None, os.read, 0, PIECE):
        process.stdin.write(piece)
        await process.stdin.drain()
    process.stdin.write_eof()


async def main(address, port, user, key, known_hosts, subsystem, cipher, rekey_bytes):
    options = {}
    if cipher != "-":
        options["encryption_algs"] = [cipher]
    if rekey_bytes != "-":
        options["rekey_bytes"] = int(rekey_bytes)
    async with asyncssh.connect(
        address, int(port), username=user, client_keys=[key], known_hosts=known_hosts,
        config=None, agent_path=None, **options,
    ) as connection:
        process = await connection.create_process(subsystem=subsystem, encoding=None)
        feeder = asyncio.create_task(feed(process))
        while piece := await process.stdout.read(PIECE):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        await process.wait()
        feeder.cancel()
        connection.close()
        await connection.wait_closed()
    # A thread may still be reading standard input, and nobody waits for it.
    os._exit(process.exit_status if process.exit_status is not None else 255)


try:
    asyncio.run(main(*sys.argv[1:]))
except (OSError, asyncssh.Error) as error:
    print(error, file=sys.stderr, flush=True)
    os._exit(255)
