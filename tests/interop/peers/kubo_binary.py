"""An `ipfs` binary (KUBO_BIN), over its RPC, behind the actions of kubo_node.py."""

import base64
import ctypes
import json
import os
import signal
import subprocess
import tarfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

from kubo_config import close_doors, environment

START_SECONDS_MAX = 60
PR_SET_PDEATHSIG = 1


def end_with_parent():
    """A test that kills this driver means the daemon."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def topic_name(topic):
    """Topics and messages travel as multibase: `u` is base64url without padding."""
    return "u" + base64.urlsafe_b64encode(topic.encode()).decode().rstrip("=")


def plain(text):
    return base64.urlsafe_b64decode(text[1:] + "=" * (-len(text[1:]) % 4))


class Multipart:
    """Files and folders as one body, read while it is sent."""

    def __init__(self, path):
        self.boundary = uuid.uuid4().hex
        self.path = path

    def parts(self):
        base = os.path.basename(self.path)
        if not os.path.isdir(self.path):
            yield base, self.path
            return
        for folder, folders, files in os.walk(self.path):
            folders.sort()
            name = os.path.join(base, os.path.relpath(folder, self.path)).removesuffix("/.")
            yield name, None
            for file in sorted(files):
                yield os.path.join(name, file), os.path.join(folder, file)

    def __iter__(self):
        for name, path in self.parts():
            kind = "application/octet-stream" if path else "application/x-directory"
            yield (f"--{self.boundary}\r\nContent-Disposition: form-data; name=\"file\"; "
                   f"filename=\"{urllib.parse.quote(name)}\"\r\nContent-Type: {kind}\r\n\r\n").encode()
            if path:
                with open(path, "rb") as file:
                    while piece := file.read(1 << 20):
                        yield piece
            yield b"\r\n"
        yield f"--{self.boundary}--\r\n".encode()


class Kubo:
    """A running daemon."""

    def __init__(self, settings):
        self.binary = os.environ["KUBO_BIN"]
        self.repo = os.path.abspath(settings["repo"])
        self.environment = environment(self.repo)
        self.messages = {}
        self.changed = threading.Condition()
        if not os.path.exists(os.path.join(self.repo, "config")):
            # The profile closes most doors before the first edit.
            subprocess.run([self.binary, "init", "--profile=test"], env=self.environment, check=True)
            close_doors(self.repo, settings)
        api = os.path.join(self.repo, "api")
        if os.path.exists(api):
            os.remove(api)
        line = [self.binary, "daemon", "--enable-pubsub-experiment", "--migrate=false"]
        self.daemon = subprocess.Popen(line, env=self.environment, stdin=subprocess.DEVNULL,
                                       preexec_fn=end_with_parent)
        until = time.monotonic() + START_SECONDS_MAX
        while not os.path.exists(api):
            if self.daemon.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"{self.binary} daemon did not start")
            time.sleep(0.02)
        with open(api, encoding="utf-8") as file:
            _, _, host, _, port = file.read().strip().split("/")[:5]
        self.base = f"http://{host}:{port}/api/v0/"
        # No proxy of the environment stands between.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def open(self, command, pairs=(), body=b"", headers=None):
        url = self.base + command + "?" + urllib.parse.urlencode(list(pairs))
        request = urllib.request.Request(url, data=body, headers=headers or {}, method="POST")
        try:
            return self.opener.open(request)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{command}: {error.read().decode()}") from error

    def call(self, command, *arguments, body=b"", headers=None, **options):
        pairs = [("arg", argument) for argument in arguments] + list(options.items())
        with self.open(command, pairs, body, headers) as answer:
            return [json.loads(line) for line in answer if line.strip()]

    def id(self, _):
        answer = self.call("id")[0]
        return {"id": answer["ID"], "addrs": answer["Addresses"]}

    def connect(self, request):
        self.call("swarm/connect", request["addr"])

    def peers(self, _):
        return [{"id": peer["Peer"], "addr": peer["Addr"]} for peer in self.call("swarm/peers")[0]["Peers"] or []]

    def put(self, request, **options):
        start = time.monotonic()
        body = Multipart(request["path"])
        headers = {"Content-Type": f"multipart/form-data; boundary={body.boundary}"}
        answers = self.call("add", body=body, headers=headers, **options)
        return {"cid": answers[-1]["Hash"], "seconds": time.monotonic() - start}

    def add(self, request):
        return self.put(request)

    def only_hash(self, request):
        return self.put(request, **{"only-hash": "true"})

    def get(self, request):
        start = time.monotonic()
        path = request["path"]
        with self.open("get", [("arg", request["cid"])]) as answer, tarfile.open(fileobj=answer, mode="r|") as tar:
            for member in tar:
                # Its names begin with the CID.
                inside = member.name.partition("/")[2]
                if member.isdir():
                    os.makedirs(os.path.join(path, inside), exist_ok=True)
                elif member.isfile():
                    with open(os.path.join(path, inside) if inside else path, "wb") as file:
                        source = tar.extractfile(member)
                        while piece := source.read(1 << 20):
                            file.write(piece)
        return {"seconds": time.monotonic() - start}

    def pin(self, request):
        self.call("pin/add", request["cid"])

    def unpin(self, request):
        self.call("pin/rm", request["cid"])

    def pins(self, _):
        return list(self.call("pin/ls")[0].get("Keys") or {})

    def find_peer(self, request):
        answers = self.call("routing/findpeer", request["id"], timeout=f"{int(request['seconds'])}s")
        found = [entry for answer in answers if answer["Type"] == 2 for entry in answer["Responses"]]
        return [address for entry in found for address in entry["Addrs"]]

    def publish(self, request):
        boundary = uuid.uuid4().hex
        data = base64.b64decode(request["data"])
        head = f"--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"data\"\r\n\r\n".encode()
        body = head + data + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        self.call("pubsub/pub", topic_name(request["topic"]), body=body, headers=headers)

    def subscribe(self, request):
        topic = request["topic"]
        with self.changed:
            if topic in self.messages:
                return
            self.messages[topic] = []
        threading.Thread(target=self.listen, args=(topic,), daemon=True).start()
        until = time.monotonic() + START_SECONDS_MAX
        while topic_name(topic) not in (self.call("pubsub/ls")[0].get("Strings") or []):
            if time.monotonic() > until:
                raise TimeoutError(f"the subscription to {topic} did not begin")
            time.sleep(0.02)

    def listen(self, topic):
        with self.open("pubsub/sub", [("arg", topic_name(topic))]) as answer:
            for line in answer:
                message = json.loads(line)
                with self.changed:
                    data = base64.b64encode(plain(message["data"])).decode()
                    self.messages[topic].append({"from": message["from"], "data": data})
                    self.changed.notify_all()

    def message(self, request):
        waiting = self.messages[request["topic"]]
        with self.changed:
            if not self.changed.wait_for(lambda: waiting, timeout=request["seconds"]):
                raise TimeoutError(f"no message within {request['seconds']} s")
            return waiting.pop(0)

    def topic_peers(self, request):
        return self.call("pubsub/peers", topic_name(request["topic"]))[0].get("Strings") or []

    def rpc(self, request):
        """Any command: `args`, `options`, and `body` (text) as one file; the lines of its answer."""
        body, headers = b"", None
        if "body" in request:
            boundary = uuid.uuid4().hex
            head = f"--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n"
            body = (head + request["body"] + f"\r\n--{boundary}--\r\n").encode()
            headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self.call(request["command"], *request.get("args", []), body=body, headers=headers,
                         **request.get("options", {}))

    def stop(self):
        self.daemon.terminate()
        try:
            self.daemon.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
