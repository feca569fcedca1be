"""aioipfs drives a daemon through what its users do without peers.

    aioipfs_tour.py SETTINGS

SETTINGS is a JSON object: `api`, `auth_api` (multiaddrs), `inputs`, `scratch` (folders), `tree_cid`.
"""

import asyncio
import json
import os

import aioipfs
from checks import Checks, equal, fails_async, known, same_tree, settings, true

KNOWN = known()
SET = settings()
HELLO, PLANETS, TWO = KNOWN["hello"], KNOWN["planets"], KNOWN["two_chunks"]


def scratch(name, content):
    path = os.path.join(SET["scratch"], name)
    with open(path, "wb") as file:
        file.write(content)
    return path


async def every(generator):
    return [value async for value in generator]


async def adding(ipfs):
    equal((await ipfs.add_str(HELLO["text"], name="hello.txt"))["Hash"], HELLO["v0"])
    equal((await ipfs.add_bytes(HELLO["text"].encode(), cid_version=1))["Hash"], HELLO["v1"])
    equal((await ipfs.add_bytes(HELLO["text"].encode(), hash="blake3"))["Hash"], HELLO["blake3"])
    equal((await ipfs.add_bytes(HELLO["text"].encode(), inline=True))["Hash"], HELLO["inline"])
    equal((await ipfs.add_bytes(KNOWN["worlds"]["text"].encode(), trickle=True))["Hash"],
          KNOWN["worlds"]["trickle"])
    added = await ipfs.add_json({"a": [1, 2]})
    equal(json.loads(await ipfs.cat(added["Hash"])), {"a": [1, 2]})
    await fails_async(ipfs.add_bytes(b"x", chunker="foo"), "unrecognized chunker option: foo")


async def adding_files(ipfs):
    folder = os.path.join(SET["inputs"], PLANETS["file"])
    for options, wanted in [({}, "v0"), ({"raw_leaves": True}, "raw_leaves"), ({"cid_version": 1}, "v1")]:
        added = await every(ipfs.add(folder, recursive=True, **options))
        equal((added[-1]["Name"], added[-1]["Hash"]), ("planets", PLANETS[wanted]), str(options))
    two = os.path.join(SET["inputs"], TWO["file"])
    [one] = await every(ipfs.add(two))
    equal((one["Name"], one["Hash"]), (TWO["file"], TWO["v0"]))
    large = KNOWN["trickle_45_mib"]
    [one] = await every(ipfs.add(os.path.join(SET["inputs"], large["file"]), trickle=True))
    equal(one["Hash"], large["trickle"], "45 MiB as a trickle DAG")
    tree = await every(ipfs.add(os.path.join(SET["inputs"], KNOWN["tree"]["file"]), hidden=True, recursive=True))
    true(len(tree) > 20 and tree[-1]["Name"] == "tree", "a tree with names of many kinds")


async def reading(ipfs):
    with open(os.path.join(SET["inputs"], TWO["file"]), "rb") as file:
        content = file.read()
    true(await ipfs.cat(TWO["v0"]) == content, "cat of a whole file")
    for offset, length in [(1, 1), (262143, 2), (100, 200000), (262140, 1000)]:
        true(await ipfs.cat(TWO["v0"], offset=offset, length=length) == content[offset:offset + length],
             f"cat of {offset}+{length}")
    await fails_async(ipfs.cat(PLANETS["v0"]), "this dag node is a directory")
    await fails_async(ipfs.cat(PLANETS["v0"] + "/pluto.txt"), 'no link named "pluto.txt"')
    target = os.path.join(SET["scratch"], "aio-got")
    os.makedirs(target)
    told = []

    async def progress(path, so_far, _arg):
        told.append(so_far)

    await ipfs.get(SET["tree_cid"], dstdir=target, progress_callback=progress)
    true(told and told == sorted(told), "progress of get")
    same_tree(os.path.join(SET["inputs"], KNOWN["tree"]["file"]), os.path.join(target, SET["tree_cid"]))
    [entry] = (await ipfs.ls(PLANETS["v0"]))["Objects"]
    equal([(link["Name"], link["Size"]) for link in entry["Links"]], [("mars.txt", 12), ("venus.txt", 13)])
    streamed = await every(ipfs.core.ls_streamed(PLANETS["v0"]))
    equal(sorted(one["Objects"][0]["Links"][0]["Name"] for one in streamed), ["mars.txt", "venus.txt"])
    equal((await ipfs.core.resolve(f"/ipfs/{PLANETS['v0']}"))["Path"], f"/ipfs/{PLANETS['v0']}")


async def blocks(ipfs):
    raw = KNOWN["raw_block"]
    put = await ipfs.block.put(scratch("block", raw["text"].encode()), cid_codec="raw")
    equal((put["Key"], put["Size"]), (raw["v1"], 3))
    equal(await ipfs.block.get(raw["v1"]), raw["text"].encode())
    equal((await ipfs.block.stat(HELLO["v0"]))["Size"], HELLO["block_bytes"])
    local = await every(ipfs.refs.local())
    true(any(one["Ref"] for one in local), "refs local")


async def dags(ipfs):
    linked = KNOWN["link_to_hello"]["v1"]
    put = await ipfs.dag.put(scratch("dag", json.dumps({"a": {"/": HELLO["v0"]}}).encode()))
    equal(put["Cid"]["/"], linked)
    equal(json.loads(await ipfs.dag.get(linked)), {"a": {"/": HELLO["v0"]}})
    equal((await ipfs.dag.resolve(linked + "/a"))["Cid"]["/"], HELLO["v0"])
    stats = await every(ipfs.dag.stat(PLANETS["v0"]))
    equal(stats[-1]["UniqueBlocks"], 3)
    car = await ipfs.dag.export(PLANETS["v0"])
    true(b"Hello Mars!\n" in car, "the CAR file holds the blocks")
    imported = await ipfs.dag.car_import(car)
    equal(imported["Root"]["Cid"]["/"], PLANETS["v0"])


async def files(ipfs):
    await ipfs.files.mkdir("/aio/deep", parents=True)
    await ipfs.files.write("/aio/f", KNOWN["written"]["text"].encode(), create=True)
    equal((await ipfs.files.stat("/aio/f"))["Hash"], KNOWN["written"]["trickle_leaf"])
    await ipfs.files.write("/aio/f", b"XY", offset=1)
    equal(await ipfs.files.read("/aio/f"), b"dXYa")
    await ipfs.files.cp("/ipfs/" + PLANETS["v0"], "/aio/planets")
    await ipfs.files.mv("/aio/planets/mars.txt", "/aio/red.txt")
    listed = await ipfs.files.ls("/aio", long=True)
    equal([(one["Name"], one["Type"]) for one in listed["Entries"]],
          [("deep", 1), ("f", 0), ("planets", 1), ("red.txt", 0)])
    await ipfs.files.chcid("/aio/deep", 1)
    true((await ipfs.files.stat("/aio/deep"))["Hash"].startswith("bafybei"), "chcid")
    await ipfs.files.flush("/aio")
    # It asks for JSON, and the answer is empty, as Kubo's is.
    await ipfs.files.rm("/aio", recursive=True)
    await fails_async(ipfs.files.stat("/aio"), "file does not exist")


async def pins(ipfs):
    one = (await ipfs.add_bytes(os.urandom(600_000), pin=False))["Hash"]
    two = (await ipfs.add_bytes(os.urandom(300), pin=False))["Hash"]
    await fails_async(ipfs.pin.ls(one), "is not pinned")
    said = await every(ipfs.pin.add(one, name="aio"))
    equal(said[-1]["Pins"], [one])
    true(any(part.get("Progress", 0) >= 4 for part in said), f"progress of pin add: {said}")
    equal((await ipfs.pin.ls(one, names=True))["Keys"][one]["Name"], "aio")
    equal((await ipfs.pin.update(one, two))["Pins"], [one, two])
    equal(list((await ipfs.pin.ls(two))["Keys"]), [two])
    equal((await ipfs.pin.rm(two))["Pins"], [two])
    await fails_async(ipfs.pin.rm(two), "not pinned or pinned indirectly")


async def keys_and_names(ipfs):
    key = await ipfs.key.gen("aio")
    renamed = await ipfs.key.rename("aio", "aio2")
    equal((renamed["Was"], renamed["Now"], renamed["Id"]), ("aio", "aio2", key["Id"]))
    value = "/ipfs/" + HELLO["v0"]
    published = await ipfs.name.publish(value, key="aio2", allow_offline=True)
    equal((published["Name"], published["Value"]), (key["Id"], value))
    equal((await ipfs.name.resolve(key["Id"]))["Path"], value)
    equal([one["Path"] for one in await every(ipfs.name.resolve_stream(key["Id"]))], [value])
    equal([one["Name"] for one in (await ipfs.key.rm("aio2"))["Keys"]], ["aio2"])


async def cids(ipfs):
    equal((await ipfs.cid.base32(HELLO["v0"]))["Formatted"], HELLO["base32"])
    formatted = await ipfs.cid.format(HELLO["v0"], version=1, multibase="base16")
    true(formatted["Formatted"].startswith("f01701220"), str(formatted))
    true({"Name": "base32", "Code": 98} in await ipfs.cid.bases(), "cid bases")


async def repo_and_config(ipfs):
    loose = (await ipfs.add_bytes(os.urandom(300), pin=False))["Hash"]
    gone = await every(ipfs.repo.gc())
    true(gone and all("/" in one["Key"] for one in gone), "what gc took")
    await fails_async(ipfs.core.fetch_raw(ipfs.core.url("cat"), params={"arg": loose, "offline": "true"}), "")
    equal((await ipfs.repo.version())["Version"], "18")
    stat = await ipfs.repo.stat()
    true(stat["RepoSize"] > 0 and stat["StorageMax"] > stat["RepoSize"], str(stat))
    equal((await ipfs.stats.repo())["Version"], stat["Version"])
    shown = await ipfs.config.show()
    most = shown["Datastore"]["StorageMax"]
    equal((await ipfs.config.config("Datastore.StorageMax", "8GB"))["Value"], "8GB")
    equal((await ipfs.config.config("Datastore.StorageMax"))["Value"], "8GB")
    await ipfs.config.config("Datastore.StorageMax", most)
    await ipfs.config.config("Discovery.MDNS.Enabled", False, boolean=True)
    await ipfs.config.replace(scratch("config", json.dumps(shown).encode()))
    equal((await ipfs.config.show())["Identity"], shown["Identity"])


async def about(ipfs):
    identity = await ipfs.id()
    true("holdfast" in identity["AgentVersion"].lower(), identity["AgentVersion"])
    true((await ipfs.version())["Version"].startswith("0.44."), "version")
    names = [one["Name"] for one in (await ipfs.commands())["Subcommands"]]
    true({"add", "pin", "files", "dag"} <= set(names), str(names))
    true("runtime" in await ipfs.diag.sys(), "diag sys")
    true((await ipfs.log.ls())["Strings"], "log ls")


async def log_tail(ipfs):
    await ipfs.log.level("all", "debug")
    found = []

    async def tail():
        async for event in ipfs.log.tail():
            found.append(event)
            if len(found) == 3:
                return

    task = asyncio.ensure_future(tail())
    for _ in range(200):
        if task.done():
            break
        await ipfs.id()
        await asyncio.sleep(0.02)
    await asyncio.wait_for(task, 10)
    true(all(isinstance(event, dict) for event in found), str(found))
    await ipfs.log.level("all", "error")


async def cancelling(ipfs):
    cid = (await ipfs.add_bytes(os.urandom(20_000_000)))["Hash"]
    for _ in range(10):
        async with ipfs.session.post(ipfs.core.url("cat"), params={"arg": cid}) as response:
            true(len(await response.content.read(1000)) > 0, "a first piece")
            # Leaving the block with most of the body unread closes the connection.
        tail = asyncio.ensure_future(every(ipfs.log.tail()))
        reads = [asyncio.ensure_future(ipfs.cat(cid)) for _ in range(4)]
        await asyncio.sleep(0.02)
        for task in [tail, *reads]:
            task.cancel()
        await asyncio.gather(tail, *reads, return_exceptions=True)
    equal(len(await ipfs.cat(cid)), 20_000_000)


async def many_at_once(ipfs):
    contents = [os.urandom(10_000) for _ in range(200)]
    added = await asyncio.gather(*(ipfs.add_bytes(content) for content in contents))
    back = await asyncio.gather(*(ipfs.cat(one["Hash"]) for one in added))
    true(back == contents, "200 adds and reads at once")


async def authorization(_ipfs):
    async with aioipfs.AsyncIPFS(maddr=SET["auth_api"], auth=aioipfs.BearerAuth("alice-token")) as alice:
        equal((await alice.add_bytes(HELLO["text"].encode()))["Hash"], HELLO["v0"])
    async with aioipfs.AsyncIPFS(maddr=SET["auth_api"], auth=aioipfs.BasicAuth("bob", "bob-secret")) as bob:
        true("holdfast" in (await bob.id())["AgentVersion"].lower(), "bob may ask who it is")
        await fails_async(bob.add_bytes(b"x"), "")
    async with aioipfs.AsyncIPFS(maddr=SET["auth_api"]) as nobody:
        await fails_async(nobody.id(), "")


async def main():
    checks = Checks(f"aioipfs {aioipfs.__version__}")
    async with aioipfs.AsyncIPFS(maddr=SET["api"]) as ipfs:
        for name, run in [
            ("add: texts, bytes, JSON, options", adding),
            ("add: files, folders, 45 MiB, a tree", adding_files),
            ("cat ranges, get, ls, resolve", reading),
            ("block: put, get, stat", blocks),
            ("dag: put, get, resolve, stat, export, import", dags),
            ("files: every change and what it leaves", files),
            ("pin: add with progress, ls with names, update, rm", pins),
            ("key and name: gen, rename, publish offline, resolve", keys_and_names),
            ("cid: base32, format, bases", cids),
            ("repo gc, stat, version; config of each kind", repo_and_config),
            ("id, version, commands, diag sys, log ls", about),
            ("log tail gives events as they happen", log_tail),
            ("cancelled reads and tails leave a daemon that serves on", cancelling),
            ("200 requests at once", many_at_once),
            ("auth: bearer and basic", authorization),
        ]:
            await checks.check_async(name, run, ipfs)
    checks.end()


asyncio.get_event_loop_policy().new_event_loop().run_until_complete(main())
