"""A ConnectWise that is as fast as Python can be: `python stub_server.py LATENCY`; ends when its standard input does.

It prints its port. It serves what a worker asks to connect, and additions, which hold 1 until a PATCH says otherwise.
`GET /stub` tells what it was asked since `DELETE /stub`. One thread waits for all sockets at once, so an answer that is
held back for LATENCY seconds costs no CPU meanwhile.
"""

import json
import re
import select
import socket
import sys
from collections import Counter, deque
from time import monotonic

ADDITION = (
    b'{"id":%d,"quantity":%g,"lessIncluded":0.0,"unitPrice":3.5,"unitCost":2.0,"billCustomer":"Billable",'
    b'"effectiveDate":"2024-01-01T00:00:00Z","taxableFlag":true,"invoiceDescription":"Security training",'
    b'"description":"Security training","uom":"Each","sequenceNumber":1.0,"prorateCost":0.0,"proratePrice":0.0,'
    b'"_info":{"lastUpdated":"2024-01-01T00:00:00Z","updatedBy":"admin"},"agreementId":%d,'
    b'"product":{"id":1,"identifier":"PHIN","serializedFlag":false},"agreementStatus":"Active","billedQuantity":1.0,'
    b'"extPrice":0.0,"extCost":0.0,"margin":0.0,"extendedProrateCost":0.0,"extendedProratePrice":0.0,'
    b'"additionStatus":"Active"}'
)
COMPANY_INFO = (
    b'{"CompanyName":"Stub","Codebase":"v2025_1/","VersionCode":"v2025.1","CompanyID":"stub","IsCloud":"False"}'
)
COUNT = b'{"count":1000}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
UNKNOWN = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"

_ADDITION_PATH = re.compile(rb".*/finance/agreements/(\d+)/additions/(\d+)")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Stub:
    """The server's sockets, the quantities that additions hold, and the count of what was asked."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._poll.register(sys.stdin, select.EPOLLIN)
        self._sockets: dict[int, socket.socket] = {}
        self._begun: dict[int, bytes] = {}
        self._held_back = deque[tuple[float, socket.socket, bytes]]()
        self._asked = Counter[str]()
        self._quantities: dict[int, float] = {}
        self.port: int = self._listener.getsockname()[1]

    def serve(self) -> None:
        """Answer until standard input ends."""
        listener, stdin = self._listener.fileno(), sys.stdin.fileno()
        while True:
            timeout = max(0.0, self._held_back[0][0] - monotonic()) if self._held_back else None
            for number, _ in self._poll.poll(timeout):
                if number == listener:
                    self._accept()
                elif number == stdin:
                    return
                else:
                    self._receive(number)
            while self._held_back and self._held_back[0][0] <= monotonic():
                _, connection, answer = self._held_back.popleft()
                _send(connection, answer)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets[connection.fileno()] = connection
        self._poll.register(connection, select.EPOLLIN)
        self._asked["connections"] += 1

    def _receive(self, number: int) -> None:
        connection = self._sockets[number]
        try:
            received = connection.recv(65_536)
        except ConnectionError:
            received = b""
        if not received:
            self._poll.unregister(number)
            del self._sockets[number]
            self._begun.pop(number, None)
            connection.close()
            return
        # The head and the body of a PATCH may come in two pieces.
        request = self._begun.pop(number, b"") + received
        head, end, body = request.partition(b"\r\n\r\n")
        length = _LENGTH.search(head) if end else None
        if not end or (length and len(body) < int(length[1])):
            self._begun[number] = request
            return
        method, target, _ = head.split(b" ", 2)
        if target == b"/stub":
            _send(connection, self._tell(method))
            return
        answer = self._answer(method, target, body)
        if self._latency:
            self._held_back.append((monotonic() + self._latency, connection, answer))
        else:
            _send(connection, answer)

    def _answer(self, method: bytes, target: bytes, body: bytes) -> bytes:
        self._asked[method.decode()] += 1
        if found := _ADDITION_PATH.match(target):
            agreement, addition = int(found[1]), int(found[2])
            if method == b"PATCH":
                self._quantities[addition] = json.loads(body)[0]["value"]
            content = ADDITION % (addition, self._quantities.get(addition, 1.0), agreement)
        elif target.endswith(b"/count"):
            content = COUNT
        elif target.startswith(b"/login/companyinfo/"):
            content = COMPANY_INFO
        else:
            return UNKNOWN
        return ANSWER % (len(content), content)

    def _tell(self, method: bytes) -> bytes:
        if method == b"DELETE":
            self._asked.clear()
        content = json.dumps({"asked": self._asked, "quantities": self._quantities}).encode()
        return ANSWER % (len(content), content)


def _send(connection: socket.socket, answer: bytes) -> None:
    try:
        connection.sendall(answer)
    except OSError:
        connection.close()  # the client has gone, as one does that is killed


if __name__ == "__main__":
    stub = Stub(float(sys.argv[1]))
    print(stub.port, flush=True)  # noqa: T201 - its parent reads it
    stub.serve()
