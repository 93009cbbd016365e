"""paramiko as a server: the subsystem `test-echo`, on a free port that the first line tells.

Arguments: host-key authorized-keys rekey-bytes.
"""

import base64
import socket
import sys
import threading

import paramiko

PIECE = 256 * 1024
STATUS = 7


class Echo(paramiko.SubsystemHandler):
    def start_subsystem(self, name, transport, channel):
        while piece := channel.recv(PIECE):
            channel.sendall(piece)
        channel.send_exit_status(STATUS)


class Door(paramiko.ServerInterface):
    def __init__(self, key):
        self.key = key

    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        known = key.asbytes() == self.key
        return paramiko.AUTH_SUCCESSFUL if known else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED


def serve(connection, host_key, client_key, rekey_bytes):
    transport = paramiko.Transport(connection)
    transport.packetizer.REKEY_BYTES = rekey_bytes
    transport.add_server_key(host_key)
    transport.set_subsystem_handler("test-echo", Echo)
    transport.start_server(server=Door(client_key), event=threading.Event())


def main(host_key, authorized_keys, rekey_bytes):
    host_key = paramiko.Ed25519Key.from_private_key_file(host_key)
    with open(authorized_keys, encoding="ascii") as lines:
        client_key = base64.b64decode(lines.read().split()[1])
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    while True:
        connection, _address = listener.accept()
        serve(connection, host_key, client_key, int(rekey_bytes))


main(*sys.argv[1:])
