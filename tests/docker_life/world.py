"""The internet, as a session that reaches names alone sees it: one address with a web server on 80
and the same behind TLS on 443 and 8443. Every answer tells for which host it was asked, and what
was asked is noted in a file.

    world.py ADDRESS CERTIFICATE KEY DIRECTORY LOG
"""

import base64
import hashlib
import http.server
import os
import socket
import socketserver
import ssl
import sys
import threading
import time

ADDRESS, CERTIFICATE, KEY, DIRECTORY, LOG = sys.argv[1:]
LOCK = threading.Lock()


def note(text):
    with LOCK, open(LOG, "a", encoding="utf-8") as log:
        log.write(text + "\n")


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments):
        super().__init__(*arguments, directory=DIRECTORY)

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        super().handle_one_request()
        if getattr(self, "requestline", ""):
            host = self.headers.get("Host") if hasattr(self, "headers") else "?"
            note(f"{self.server.server_port} {self.requestline} {host}")
            self.requestline = ""

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/who":
            return self.answer(f"you asked {self.headers['Host']}\n".encode())
        if self.path.startswith("/bytes/"):
            count = int(self.path.split("/")[2])
            self.send_response(200)
            self.send_header("Content-Length", str(count))
            self.end_headers()
            chunk = bytes(1 << 20)
            while count > 0:
                self.wfile.write(chunk[: min(count, len(chunk))])
                count -= len(chunk)
            return None
        if self.path == "/events":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            for number in range(3):
                self.wfile.write(f"data: {number}\n\n".encode())
                self.wfile.flush()
                time.sleep(0.2)
            self.close_connection = True
            return None
        if self.path == "/socket":
            key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.send_header("Sec-WebSocket-Accept", accept)
            self.end_headers()
            while data := self.rfile.read1(4096):
                self.wfile.write(data)
            self.close_connection = True
            return None
        return super().do_GET()

    def do_POST(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(f"{len(body)} bytes\n".encode())


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 2048

    def get_request(self):
        request, address = super().get_request()
        # A server that is far away keeps its bytes in its own kernel, and not in this one's.
        request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * 1024)
        return request, address

    def handle_error(self, *_):
        pass

    def finish_request(self, request, client_address):
        if self.context is not None:
            request.settimeout(30)
            request = self.context.wrap_socket(request, server_side=True)
            request.settimeout(None)
        super().finish_request(request, client_address)


def serve(port, context):
    server = Server((ADDRESS, port), Handler)
    server.context = context
    threading.Thread(target=server.serve_forever).start()


CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CONTEXT.load_cert_chain(CERTIFICATE, KEY)
os.makedirs(DIRECTORY, exist_ok=True)
serve(80, None)
serve(443, CONTEXT)
serve(8443, CONTEXT)
print("serving", flush=True)
