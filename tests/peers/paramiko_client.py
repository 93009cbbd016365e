"""paramiko as a client: one subsystem between standard input and standard output.

Arguments: address port user key known-hosts subsystem cipher rekey-bytes; `-` leaves a choice open.
"""

import os
import sys
import threading

import paramiko

PIECE = 256 * 1024


class Count:
    """Bytes that one thread has seen and another waits for."""

    def __init__(self):
        self.bytes = 0
        self.changed = threading.Condition()

    def add(self, count):
        with self.changed:
            self.bytes += count
            self.changed.notify_all()

    def wait_for(self, count):
        with self.changed:
            self.changed.wait_for(lambda: self.bytes >= count)


def feed(channel, echoed):
    try:
        sent = 0
        while piece := os.read(0, PIECE):
            channel.sendall(piece)
            sent += len(piece)
        # It answers a CLOSE in the thread that alone can end a key exchange of its own, and waits
        # there for that end: where it asks for new keys, all the echo is had before it says that
        # no more comes.
        if echoed is not None:
            echoed.wait_for(sent)
        channel.shutdown_write()
    except OSError:
        pass  # the server has closed the channel, and its exit status says the rest


def main(address, port, user, key, known_hosts, subsystem, cipher, rekey_bytes):
    transport = paramiko.Transport((address, int(port)))
    if cipher != "-":
        transport.get_security_options().ciphers = (cipher,)
    if rekey_bytes != "-":
        transport.packetizer.REKEY_BYTES = int(rekey_bytes)
    known = paramiko.HostKeys(known_hosts).lookup(f"[{address}]:{port}")
    pinned = known["ssh-ed25519"]
    pair = paramiko.Ed25519Key.from_private_key_file(key)
    transport.connect(hostkey=pinned, username=user, pkey=pair)
    channel = transport.open_session()
    channel.invoke_subsystem(subsystem)
    echoed = None if rekey_bytes == "-" else Count()
    threading.Thread(target=feed, args=(channel, echoed), daemon=True).start()
    while piece := channel.recv(PIECE):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        if echoed is not None:
            echoed.add(len(piece))
    status = channel.recv_exit_status()
    transport.close()
    os._exit(status if status >= 0 else 255)


try:
    main(*sys.argv[1:])
except (OSError, paramiko.SSHException) as error:
    print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(255)
