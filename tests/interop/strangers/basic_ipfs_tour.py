"""basic-ipfs runs the binary as its own node: it starts the daemon, uses it and stops it.

    basic_ipfs_tour.py SETTINGS

SETTINGS is a JSON object: `repo` (of the test profile: its own `init` would listen everywhere),
`inputs`, `scratch`. An `ipfs` that is our binary is on PATH, and HOME is a scratch folder, so that
it finds no other binary and fetches none.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess

import basic_ipfs
from checks import Checks, equal, fails, known, settings, true

KNOWN = known()
SET = settings()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def ours(*args):
    env = {**os.environ, "IPFS_PATH": SET["repo"]}
    return subprocess.run(["ipfs", *args], env=env, capture_output=True, text=True, timeout=60, check=True).stdout


def configure():
    basic_ipfs.REPO_PATH = pathlib.Path(SET["repo"])
    basic_ipfs.API_PORT = free_port()
    basic_ipfs.GATEWAY_PORT = free_port()
    basic_ipfs.SWARM_ADDRESSES = ["/ip4/127.0.0.1/tcp/0"]
    basic_ipfs.STORAGE_MAX = "3GB"


def process():
    return basic_ipfs._get_manager()._process


def starts():
    basic_ipfs.start()
    true(process() is not None, "it started a daemon of its own")
    config = json.loads((pathlib.Path(SET["repo"]) / "config").read_text())
    # Set by `config KEY VALUE` and `config KEY --json VALUE`.
    equal(config["Addresses"]["API"], f"/ip4/127.0.0.1/tcp/{basic_ipfs.API_PORT}")
    equal(config["Addresses"]["Gateway"], f"/ip4/127.0.0.1/tcp/{basic_ipfs.GATEWAY_PORT}")
    equal(config["Addresses"]["Swarm"], ["/ip4/127.0.0.1/tcp/0"])
    equal(config["Datastore"]["StorageMax"], "3GB")


def adds():
    hello = KNOWN["hello"]
    equal(basic_ipfs.add(hello["text"].encode()), hello["v1"])
    equal(basic_ipfs.get(hello["v1"]), hello["text"].encode())
    equal(basic_ipfs.compute_cid_locally(b"never stored"), basic_ipfs.compute_cid_locally(b"never stored"))
    true(not basic_ipfs.exists(basic_ipfs.compute_cid_locally(b"never stored")), "only counted, not stored")
    equal(basic_ipfs.add_folder(os.path.join(SET["inputs"], KNOWN["planets"]["file"])), KNOWN["planets"]["v1"])
    large = os.path.join(SET["inputs"], KNOWN["trickle_45_mib"]["file"])
    cid = basic_ipfs.add(large)
    copy = os.path.join(SET["scratch"], "copy")
    basic_ipfs.get(cid, copy)
    with open(large, "rb") as one, open(copy, "rb") as other:
        true(one.read() == other.read(), "45 MiB come back")
    fails(lambda: basic_ipfs.get(KNOWN["planets"]["v1"]), "is a directory", basic_ipfs.IPFSOperationError)


def pins():
    cid = basic_ipfs.announce(os.urandom(500))
    true(not basic_ipfs.is_pinned(cid), "announced, not pinned")
    basic_ipfs.pin(cid)
    true(basic_ipfs.is_pinned(cid) and cid in basic_ipfs.get_all_pins(), "pinned")
    basic_ipfs.unpin(cid)
    # A second time is nothing, by the exact words of the error.
    basic_ipfs.unpin(cid)
    others = [basic_ipfs.add(os.urandom(100)) for _ in range(20)]
    basic_ipfs.unpin([*others, cid])
    true(not set(others) & set(basic_ipfs.get_all_pins()), "a batch with one that was not pinned")
    basic_ipfs.garbage_collection()
    true(not basic_ipfs.exists(cid), "collected")
    true(basic_ipfs.exists(KNOWN["hello"]["v1"]), "kept")


def tells():
    status = basic_ipfs.status()
    equal(status["peer_id"], json.loads(ours("config", "show"))["Identity"]["PeerID"])
    true(status["agent_version"].startswith("0.44."), str(status))
    true(status["num_objects"] > 0 and status["repo_size_bytes"] > 0, str(status))
    equal(status["pinned_cids"], len(basic_ipfs.get_all_pins()))
    try:
        equal(basic_ipfs.peers(), [])
    except basic_ipfs.IPFSOperationError as error:
        # What a node without a swarm says, as Kubo's does when it is offline.
        true("must be run in online mode" in error.kubo_message, str(error))


def refuses():
    fails(basic_ipfs.create_private_network, "while the daemon is running", basic_ipfs.IPFSError)
    other = basic_ipfs.IPFSManager()
    saved = basic_ipfs.API_PORT, basic_ipfs.GATEWAY_PORT, basic_ipfs.DAEMON_STARTUP_TIMEOUT
    basic_ipfs.API_PORT, basic_ipfs.GATEWAY_PORT = free_port(), free_port()
    try:
        # A second node on the same repo: it is told by the words `repo` and `lock` in the log.
        fails(other.start, "locked", basic_ipfs.IPFSRepoLocked)
    finally:
        basic_ipfs.API_PORT, basic_ipfs.GATEWAY_PORT, basic_ipfs.DAEMON_STARTUP_TIMEOUT = saved


def stops():
    daemon = process()
    basic_ipfs.stop()
    equal(daemon.returncode, 0, "how the daemon ended")
    true(not (pathlib.Path(SET["repo"]) / "api").exists(), "the api file is gone")


def rotates_and_locks_down():
    before = json.loads((pathlib.Path(SET["repo"]) / "config").read_text())["Identity"]["PeerID"]
    after = basic_ipfs.rotate_identity("old-self")
    true(after != before, "another identity")
    true("old-self" in ours("key", "list"), "the old key is kept")
    basic_ipfs.lockdown_mode()
    config = json.loads((pathlib.Path(SET["repo"]) / "config").read_text())
    equal((config["Routing"]["Type"], config["Bootstrap"], config["Gateway"]["NoFetch"]), ("none", [], True))
    # lockdown_mode writes a fixed swarm port: tests take any.
    with basic_ipfs.Node():
        equal(basic_ipfs.status()["peer_id"], after)
        equal(basic_ipfs.get(KNOWN["hello"]["v1"]), KNOWN["hello"]["text"].encode())
        daemon = process()
    equal(daemon.returncode, 0, "how the daemon ended")


def main():
    checks = Checks(f"basic-ipfs {basic_ipfs.__version__}")
    true(shutil.which("ipfs") is not None, "no `ipfs` on PATH")
    configure()
    checks.check("start: config by its command lines, then a daemon that answers", starts)
    checks.check("add, add_folder, get, compute_cid_locally", adds)
    checks.check("pin, unpin in batches, garbage collection", pins)
    checks.check("status and peers", tells)
    checks.check("a second daemon on the repo is refused by name", refuses)
    checks.check("stop ends the daemon with exit code 0", stops)
    checks.check("rotate_identity, lockdown_mode, and a start after them", rotates_and_locks_down)
    basic_ipfs.stop()
    checks.end()


main()
