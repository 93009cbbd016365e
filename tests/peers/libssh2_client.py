"""libssh2 as a client: one subsystem between standard input and standard output.

Arguments: address port user key known-hosts subsystem cipher rekey-bytes; `-` leaves a choice open.
"""

import base64
import os
import select
import socket
import sys

from ssh2.error_codes import LIBSSH2_ERROR_EAGAIN
from ssh2.exceptions import SSH2Error
from ssh2.session import (
    LIBSSH2_METHOD_CRYPT_CS,
    LIBSSH2_METHOD_CRYPT_SC,
    LIBSSH2_SESSION_BLOCK_OUTBOUND,
    Session,
)

PIECE = 32 * 1024


def drain(channel):
    while True:
        count, piece = channel.read(PIECE)
        if count <= 0:
            return
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def send(channel, rest):
    """What could not be sent yet."""
    while rest:
        status, written = channel.write(rest)
        rest = rest[written:]
        if status < 0:
            break
    return rest


def pump(session, channel, connection):
    rest, open_input, told = b"", True, False
    while not channel.eof():
        readers = [connection] + ([0] if open_input and not rest else [])
        blocked = session.block_directions() & LIBSSH2_SESSION_BLOCK_OUTBOUND
        readable, _, _ = select.select(readers, [connection] if blocked else [], [], 1)
        drain(channel)
        if 0 in readable:
            rest = os.read(0, PIECE)
            open_input = bool(rest)
        rest = send(channel, rest)
        if not open_input and not rest and not told:
            told = True
            while channel.send_eof() == LIBSSH2_ERROR_EAGAIN:
                select.select([connection], [connection], [], 1)
        drain(channel)


def main(address, port, user, key, known_hosts, subsystem, cipher, rekey_bytes):
    connection = socket.create_connection((address, int(port)))
    session = Session()
    if cipher != "-":
        session.method_pref(LIBSSH2_METHOD_CRYPT_CS, cipher)
        session.method_pref(LIBSSH2_METHOD_CRYPT_SC, cipher)
    session.handshake(connection)
    with open(known_hosts, encoding="ascii") as lines:
        pinned = base64.b64decode(lines.read().split()[2])
    if session.hostkey()[0] != pinned:
        raise OSError("the host key is not the known one")
    session.userauth_publickey_fromfile(user, key, "", f"{key}.pub")
    channel = session.open_session()
    channel.subsystem(subsystem)
    session.set_blocking(False)
    pump(session, channel, connection)
    drain(channel)
    session.set_blocking(True)
    channel.wait_eof()
    channel.close()
    channel.wait_closed()
    status = channel.get_exit_status()
    session.disconnect()
    os._exit(status)


try:
    main(*sys.argv[1:])
except (OSError, SSH2Error) as error:
    print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(255)
