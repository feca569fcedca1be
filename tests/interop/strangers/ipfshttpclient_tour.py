"""ipfshttpclient, 0.8.0a2 or 0.7.0, drives a daemon through what its users do without peers.

    ipfshttpclient_tour.py SETTINGS

SETTINGS is a JSON object: `api`, `auth_api` (multiaddrs), `inputs`, `scratch` (folders), `tree_cid`,
`reported` (the version that the daemons' config asks for, if any), and `plain_api`: a daemon that reports its real version, which 0.7.0 refuses.
"""

import io
import os
import threading
import warnings

import ipfshttpclient
from checks import Checks, equal, fails, known, same_tree, settings, true
from ipfshttpclient.exceptions import ErrorResponse, StatusError, VersionMismatch

KNOWN = known()
SET = settings()
HELLO, PLANETS, TWO = KNOWN["hello"], KNOWN["planets"], KNOWN["two_chunks"]
OLD = ipfshttpclient.__version__ == "0.7.0"


def connect(address, **kwargs):
    with warnings.catch_warnings():
        # 0.8.0a2 warns of versions that it does not know.
        warnings.simplefilter("ignore", VersionMismatch)
        return ipfshttpclient.connect(address, **kwargs)


def versions(client):
    said = client.version()["Version"]
    if "reported" in SET:
        equal(said, SET["reported"], "the version that the config asks for")
    else:
        true(said.startswith("0.44."), said)
    if OLD:
        fails(lambda: ipfshttpclient.connect(SET["plain_api"]), "", VersionMismatch)
    true("holdfast" in client.id()["AgentVersion"].lower(), "who it really is")


def adding(client):
    equal(client.add_bytes(HELLO["text"].encode()), HELLO["v0"])
    equal(client.add_str(HELLO["text"], opts={"cid-version": 1}), HELLO["v1"])
    equal(client.add_bytes(b""), KNOWN["empty_file"])
    stored = {"name": "ä", "list": [1, 2, {"x": None}]}
    equal(client.get_json(client.add_json(stored)), stored)
    equal(client.add(io.BytesIO(KNOWN["worlds"]["text"].encode()), trickle=True)["Hash"], KNOWN["worlds"]["trickle"])
    equal(client.add_bytes(b"only counted", opts={"only-hash": True}), client.add_bytes(b"only counted"))


def adding_files(client):
    one = client.add(os.path.join(SET["inputs"], TWO["file"]))
    equal((one["Name"], one["Hash"]), (TWO["file"], TWO["v0"]))
    folder = os.path.join(SET["inputs"], PLANETS["file"])
    added = client.add(folder, recursive=True)
    equal([part["Name"] for part in added], ["planets/mars.txt", "planets/venus.txt", "planets"])
    equal(added[-1]["Hash"], PLANETS["v0"])
    equal(client.add(folder, recursive=True, raw_leaves=True)[-1]["Hash"], PLANETS["raw_leaves"])
    # It sends raw-leaves=False where nothing is said.
    equal(client.add(folder, recursive=True, raw_leaves=True, opts={"cid-version": 1})[-1]["Hash"], PLANETS["v1"])
    wrapped = client.add(os.path.join(folder, "mars.txt"), wrap_with_directory=True)
    equal([part["Name"] for part in wrapped], ["mars.txt", ""])


def adding_a_tree(client):
    tree = os.path.join(SET["inputs"], KNOWN["tree"]["file"])
    # It follows symlinks to files only when asked; `period_special` hides nothing here.
    added = client.add(tree, recursive=True, follow_symlinks=False)
    names = {part["Name"]: part["Hash"] for part in added}
    equal(names["tree"], SET["tree_cid"], "the root of the tree")


def reading(client):
    with open(os.path.join(SET["inputs"], TWO["file"]), "rb") as file:
        content = file.read()
    true(client.cat(TWO["v0"]) == content, "cat of a whole file")
    for offset, length in [(0, 1), (262143, 2), (100, 200000), (262140, 1000)]:
        true(client.cat(TWO["v0"], offset=offset, length=length) == content[offset:offset + length],
             f"cat of {offset}+{length}")
    true(client.cat(TWO["v0"], offset=262100) == content[262100:], "cat from an offset")
    equal(client.cat(PLANETS["v0"] + "/mars.txt"), b"Hello Mars!\n")
    fails(lambda: client.cat(PLANETS["v0"]), "this dag node is a directory", ErrorResponse)
    fails(lambda: client.cat(PLANETS["v0"] + "/pluto.txt"), 'no link named "pluto.txt"', ErrorResponse)
    pieces = list(client.cat(TWO["v0"], stream=True))
    true(b"".join(pieces) == content, "cat as a stream")


def getting(client):
    target = os.path.join(SET["scratch"], "got")
    os.makedirs(target)
    client.get(SET["tree_cid"], target=target)
    same_tree(os.path.join(SET["inputs"], KNOWN["tree"]["file"]), os.path.join(target, SET["tree_cid"]))


def listing(client):
    [entry] = client.ls(PLANETS["v0"])["Objects"]
    equal(entry["Hash"], PLANETS["v0"])
    equal([(link["Name"], link["Size"], link["Type"]) for link in entry["Links"]],
          [("mars.txt", 12, 2), ("venus.txt", 13, 2)])
    refs = list(client.unstable.refs(PLANETS["v0"]))
    equal(len(refs), 2)
    local = [one["Ref"] for one in client.unstable.refs.local()]
    true(len(local) > 3, "refs local")
    equal(client.resolve(f"/ipfs/{PLANETS['v0']}/mars.txt")["Path"], "/ipfs/" + refs[0]["Ref"])


def blocks(client):
    raw = KNOWN["raw_block"]
    put = client.block.put(io.BytesIO(raw["text"].encode()))
    equal((put["Key"], put["Size"]), (raw["v1"], 3))
    equal(client.block.get(raw["v1"]), raw["text"].encode())
    equal(client.block.stat(HELLO["v0"]).as_json(), {"Key": HELLO["v0"], "Size": HELLO["block_bytes"]})


def dags(client):
    put = client.dag.put(io.BytesIO(b'{"a": {"/": "%s"}}' % HELLO["v0"].encode()))
    cid = KNOWN["link_to_hello"]["v1"]
    equal(put["Cid"]["/"], cid)
    equal(client.dag.get(cid).as_json(), {"a": {"/": HELLO["v0"]}})
    equal(client.dag.resolve(cid + "/a")["Cid"]["/"], HELLO["v0"])
    car = client.dag.export(PLANETS["v0"])
    true(b"Hello Venus!\n" in car, "the CAR file holds the blocks")
    client.pin.rm(PLANETS["v0"])
    [root] = [one for one in [client.dag.imprt(io.BytesIO(car))]]
    equal(root["Root"]["Cid"]["/"], PLANETS["v0"])
    equal(client.pin.ls(PLANETS["v0"])["Keys"][PLANETS["v0"]]["Type"], "recursive")


def objects(client):
    stat = client.object.stat(HELLO["v0"])
    equal((stat["Hash"], stat["CumulativeSize"], stat["NumLinks"]), (HELLO["v0"], HELLO["block_bytes"], 0))


def mfs(client):
    client.files.mkdir("/py/deep", parents=True)
    client.files.write("/py/f", io.BytesIO(KNOWN["written"]["text"].encode()), create=True)
    equal(client.files.stat("/py/f")["Hash"], KNOWN["written"]["trickle_leaf"])
    client.files.write("/py/f", io.BytesIO(b"XY"), offset=1)
    equal(client.files.read("/py/f"), b"dXYa")
    equal(client.files.read("/py/f", offset=1, count=2), b"XY")
    client.files.cp("/ipfs/" + PLANETS["v0"], "/py/planets")
    client.files.mv("/py/planets/mars.txt", "/py/red.txt")
    names = [entry["Name"] for entry in client.files.ls("/py")["Entries"]]
    equal(names, ["deep", "f", "planets", "red.txt"])
    entries = client.files.ls("/py", opts={"long": True})["Entries"]
    equal([entry["Type"] for entry in entries], [1, 0, 1, 0])
    # Kubo tells of this failure with status 200 and a body, which the client takes for a fault of its own.
    fails(lambda: client.files.rm("/py"), "")
    equal(client.files.stat("/py")["Type"], "directory")
    client.files.rm("/py", recursive=True)
    fails(lambda: client.files.stat("/py"), "file does not exist", ErrorResponse)


def pins(client):
    one = client.add_bytes(os.urandom(300), opts={"pin": "false"})
    two = client.add_bytes(os.urandom(300), opts={"pin": "false"})
    fails(lambda: client.pin.ls(one), "is not pinned", ErrorResponse)
    equal(client.pin.add(one)["Pins"], [one])
    equal(client.pin.ls(one, type="recursive")["Keys"][one]["Type"], "recursive")
    true(one in client.pin.ls(type="recursive")["Keys"], "pin ls")
    equal(client.pin.update(one, two)["Pins"], [one, two])
    fails(lambda: client.pin.ls(one), "is not pinned", ErrorResponse)
    equal(client.pin.rm(two)["Pins"], [two])
    fails(lambda: client.pin.rm(two), "not pinned or pinned indirectly", ErrorResponse)


def keys_and_names(client):
    # It sends size=2048 with every kind.
    key = client.key.gen("py", "ed25519")
    true(key["Id"].startswith("k51"), key["Id"])
    equal(client.key.rename("py", "py2")["Now"], "py2")
    equal(sorted(one["Name"] for one in client.key.list()["Keys"]), ["py2", "self"])
    value = "/ipfs/" + HELLO["v0"]
    published = client.name.publish(value, key="py2", allow_offline=True)
    equal((published["Name"], published["Value"]), (key["Id"], value))
    equal(client.name.resolve(key["Id"])["Path"], value)
    equal(client.key.rm("py2")["Keys"][0]["Name"], "py2")


def repo_and_config(client):
    loose = client.add_bytes(os.urandom(300), opts={"pin": "false"})
    client.repo.gc()
    fails(lambda: client.cat(loose, opts={"offline": True}), "", ErrorResponse)
    stat = client.repo.stat()
    true(stat["NumObjects"] > 3 and stat["RepoSize"] > 0, "repo stat")
    equal(stat["Version"], "fs-repo@18")
    most = client.config.get()["Datastore"]["StorageMax"]
    equal(client.config.set("Datastore.StorageMax", "6GB")["Value"], "6GB")
    equal(client.config.get()["Datastore"]["StorageMax"], "6GB")
    client.config.set("Datastore.StorageMax", most)
    true("PrivKey" not in client.config.get()["Identity"], "no private key is shown")


def logs(client):
    true(len(client.unstable.log.ls()["Strings"]) > 0, "log ls")
    client.unstable.log.level("all", "debug")
    tail = client.unstable.log.tail()
    stop = threading.Event()

    def use():
        for _ in range(200):
            if stop.wait(0.02):
                return
            connect(SET["api"]).id()

    user = threading.Thread(target=use, daemon=True)
    user.start()
    first = next(iter(tail))
    stop.set()
    user.join()
    tail.close()
    true(hasattr(first, "as_json") or isinstance(first, dict), f"a line of the log: {first!r}")
    client.unstable.log.level("all", "error")


def letting_go(client):
    cid = client.add_bytes(os.urandom(20_000_000))
    for _ in range(10):
        stream = client.cat(cid, stream=True)
        true(len(next(iter(stream))) > 0, "a first piece")
        stream.close()
    equal(len(client.cat(cid)), 20_000_000)


def authorization(_client):
    alice = connect(SET["auth_api"], headers={"Authorization": "Bearer alice-token"})
    equal(alice.add_bytes(HELLO["text"].encode()), HELLO["v0"])
    bob = connect(SET["auth_api"], username="bob", password="bob-secret")
    true("holdfast" in bob.id()["AgentVersion"].lower(), "bob may ask who it is")
    fails(lambda: bob.add_bytes(b"x"), "", StatusError)
    fails(lambda: connect(SET["auth_api"]), "", StatusError)
    fails(lambda: connect(SET["auth_api"], username="bob", password="wrong"), "", StatusError)


def main():
    checks = Checks(f"ipfshttpclient {ipfshttpclient.__version__}")
    client = connect(SET["api"], session=True)
    checks.check("version: what it needs, and who we are", versions, client)
    checks.check("add: bytes, texts, JSON, options", adding, client)
    checks.check("add: files and folders from disk", adding_files, client)
    checks.check("add: a tree of many kinds of names gives Kubo's root", adding_a_tree, client)
    checks.check("cat: whole, ranges, paths, streams, errors", reading, client)
    checks.check("get: a tree comes back byte for byte", getting, client)
    checks.check("ls, refs, resolve", listing, client)
    checks.check("block: put, get, stat", blocks, client)
    checks.check("dag: put, get, resolve, export, import", dags, client)
    checks.check("object: stat, which newer programs no longer have", objects, client)
    checks.check("files: mkdir, write, read, cp, mv, ls, rm", mfs, client)
    checks.check("pin: add, ls, update, rm", pins, client)
    checks.check("key and name: gen, rename, publish offline, resolve", keys_and_names, client)
    checks.check("repo gc and stat, config get and set", repo_and_config, client)
    checks.check("log: ls, level, tail", logs, client)
    checks.check("streams that are closed early leave a daemon that serves on", letting_go, client)
    checks.check("auth: bearer and basic", authorization, client)
    checks.end()


main()
