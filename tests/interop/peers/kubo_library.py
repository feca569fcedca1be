"""Kubo 0.22 as a shared library, behind the actions of kubo_node.py."""

import base64
import ctypes
import json
import os
import threading
import time

from kubo_config import close_doors

TEXT, NUMBER, FLAG = ctypes.c_char_p, ctypes.c_int, ctypes.c_bool
# A plain address: c_char_p would be turned into bytes and the string could not be freed.
STRING = ctypes.c_void_p

CALLS = {
    "CreateRepo": (NUMBER, TEXT),
    "RunNode": (NUMBER, TEXT),
    "CleanupNode": (NUMBER, TEXT),
    "GetNodeID": (STRING, TEXT),
    "GetNodeMultiAddrs": (STRING, TEXT),
    "AddFile": (STRING, TEXT, TEXT, FLAG),
    "Download": (NUMBER, TEXT, TEXT, TEXT),
    "PinCID": (NUMBER, TEXT, TEXT),
    "UnpinCID": (NUMBER, TEXT, TEXT),
    "ListPins": (STRING, TEXT),
    "ConnectToPeer": (NUMBER, TEXT, TEXT),
    "ListPeers": (STRING, TEXT),
    "FindPeer": (STRING, TEXT, TEXT, NUMBER),
    "PubSubPublish": (NUMBER, TEXT, TEXT, ctypes.c_char_p, NUMBER),
    "PubSubSubscribe": (ctypes.c_longlong, TEXT, TEXT),
    "PubSubNextMessage": (STRING, ctypes.c_longlong),
    "PubSubPeers": (STRING, TEXT, TEXT),
    "FreeString": (None, STRING),
}


class Kubo:
    """A running node."""

    def __init__(self, settings):
        self.library = ctypes.CDLL(settings["library"])
        for name, (result, *arguments) in CALLS.items():
            call = getattr(self.library, name)
            call.restype, call.argtypes = result, arguments
        self.repo = os.path.abspath(settings["repo"])
        self.subscriptions = {}
        # The library's map of subscriptions has one lock, its node's handle too: making either is not raced.
        self.lock = threading.Lock()
        # It leaves a log in the working folder.
        os.chdir(self.repo)
        if not os.path.exists(os.path.join(self.repo, "config")):
            self.done("CreateRepo")
            close_doors(self.repo, settings)
        self.done("RunNode")

    def done(self, name, *arguments):
        """Calls what answers with a number that is negative, or not 0, when it failed."""
        number = getattr(self.library, name)(os.fsencode(self.repo), *arguments)
        if number < 0:
            raise RuntimeError(f"{name} failed with {number}; the reason stands in the log")
        return number

    def text(self, name, *arguments):
        """Calls what answers with a string."""
        return self.taken(name, getattr(self.library, name)(os.fsencode(self.repo), *arguments))

    def taken(self, name, address):
        text = ctypes.string_at(address).decode() if address else ""
        if address:
            self.library.FreeString(address)
        if not text:
            raise RuntimeError(f"{name} failed; the reason stands in the log")
        return text

    def id(self, _):
        name = self.text("GetNodeID").removeprefix("ID:")
        addresses = json.loads(self.text("GetNodeMultiAddrs"))
        tail = f"/p2p/{name}"
        return {"id": name, "addrs": [a if a.endswith(tail) else a + tail for a in addresses]}

    def connect(self, request):
        self.done("ConnectToPeer", request["addr"].encode())

    def peers(self, _):
        found = [address.rpartition("/") for address in json.loads(self.text("ListPeers"))]
        return [{"id": name, "addr": address} for address, _, name in found]

    def add(self, request):
        start = time.monotonic()
        cid = self.text("AddFile", os.fsencode(request["path"]), False)
        return {"cid": cid, "seconds": time.monotonic() - start}

    def only_hash(self, request):
        return {"cid": self.text("AddFile", os.fsencode(request["path"]), True)}

    def get(self, request):
        start = time.monotonic()
        self.done("Download", request["cid"].encode(), os.fsencode(request["path"]))
        return {"seconds": time.monotonic() - start}

    def pin(self, request):
        self.done("PinCID", request["cid"].encode())

    def unpin(self, request):
        self.done("UnpinCID", request["cid"].encode())

    def pins(self, _):
        return json.loads(self.text("ListPins"))

    def find_peer(self, request):
        return json.loads(self.text("FindPeer", request["id"].encode(), int(request["seconds"])))

    def publish(self, request):
        data = base64.b64decode(request["data"])
        self.done("PubSubPublish", request["topic"].encode(), data, len(data))

    def subscribe(self, request):
        with self.lock:
            if request["topic"] not in self.subscriptions:
                self.subscriptions[request["topic"]] = self.done("PubSubSubscribe", request["topic"].encode())

    def message(self, request):
        number = self.subscriptions[request["topic"]]
        until = time.monotonic() + request["seconds"]
        while time.monotonic() < until:
            # It answers at once; null when there is none.
            address = self.library.PubSubNextMessage(number)
            if address:
                message = json.loads(self.taken("PubSubNextMessage", address))
                data = base64.b64decode(message["data"])
                return {"from": message["from"], "data": base64.b64encode(data).decode()}
            time.sleep(0.02)
        raise TimeoutError(f"no message within {request['seconds']} s")

    def topic_peers(self, request):
        return json.loads(self.text("PubSubPeers", request["topic"].encode()))

    def stop(self):
        self.library.CleanupNode(os.fsencode(self.repo))
