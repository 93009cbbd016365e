"""libssh as a client: one subsystem between standard input and standard output.

Arguments: address port user key known-hosts subsystem cipher rekey-bytes; `-` leaves a choice open.
"""

import os
import select
import sys

import ssh.exceptions
from ssh import options
from ssh.key import import_privkey_file
from ssh.session import Session

PIECE = 32 * 1024
# libssh keeps to itself what it has read and not looked at: seconds until it is asked again.
PATIENCE = 0.05
SERVER_KNOWN_OK = 1


def drain(channel):
    while True:
        try:
            _status, piece = channel.read_nonblocking(PIECE)
        except ssh.exceptions.EOF:
            return
        if not piece:
            return
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def pump(session, channel):
    waiting = [session.get_fd(), 0]
    while not channel.is_eof():
        readable, _, _ = select.select(waiting, [], [], PATIENCE)
        drain(channel)
        if 0 in readable:
            piece = os.read(0, PIECE)
            if piece:
                channel.write(piece)
            else:
                channel.send_eof()
                waiting.remove(0)
            # What was read while this was written no descriptor will tell.
            drain(channel)


def main(address, port, user, key, known_hosts, subsystem, cipher, rekey_bytes):
    session = Session()
    session.options_set(options.HOST, address)
    session.options_set_port(int(port))
    session.options_set(options.USER, user)
    session.options_set(options.KNOWNHOSTS, known_hosts)
    session.options_set(options.GLOBAL_KNOWNHOSTS, "/dev/null")
    session.options_set_int_val(options.PROCESS_CONFIG, 0)
    if cipher != "-":
        session.options_set(options.CIPHERS_C_S, cipher)
        session.options_set(options.CIPHERS_S_C, cipher)
    session.connect()
    known = session.is_server_known()
    if known != SERVER_KNOWN_OK:
        raise OSError(f"the host key is not the known one: {known}")
    session.userauth_publickey(import_privkey_file(key))
    channel = session.channel_new()
    channel.open_session()
    channel.request_subsystem(subsystem)
    pump(session, channel)
    drain(channel)
    status = channel.get_exit_status()
    channel.close()
    session.disconnect()
    os._exit(status if status >= 0 else 255)


try:
    main(*sys.argv[1:])
except (OSError, ssh.exceptions.BaseSSHError) as error:
    print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(255)
