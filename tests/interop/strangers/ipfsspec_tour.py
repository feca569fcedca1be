"""ipfsspec (fsspec's file system over the gateway) reads what a daemon serves.

    ipfsspec_tour.py SETTINGS

SETTINGS is a JSON object: `gateway` (URL), `inputs`, `tree_cid`, `scratch`. What it reads was added before.
"""

import os

import fsspec
from checks import Checks, equal, fails, known, settings, true

KNOWN = known()
SET = settings()
PLANETS, TWO = KNOWN["planets"], KNOWN["two_chunks"]
VERSION = "0.6.0"


def infos(fs):
    equal(fs.info(PLANETS["v0"])["type"], "directory")
    mars = fs.info(PLANETS["v0"] + "/mars.txt")
    equal((mars["type"], mars["size"]), ("file", 12))
    equal(fs.info(TWO["v0"])["size"], TWO["bytes"])
    equal(fs.ukey(PLANETS["v1"]), PLANETS["v1"])
    true(fs.exists(PLANETS["v0"]) and fs.isdir(PLANETS["v0"]) and fs.isfile(TWO["v0"]), "exists, isdir, isfile")
    true(not fs.exists(PLANETS["v0"] + "/pluto.txt"), "what is not there")
    fails(lambda: fs.info(PLANETS["v0"] + "/pluto.txt"), "pluto", FileNotFoundError)


def listing(fs):
    names = fs.ls(PLANETS["v0"], detail=False)
    equal(names, [PLANETS["v0"] + "/mars.txt", PLANETS["v0"] + "/venus.txt"])
    equal([one["size"] for one in fs.ls(PLANETS["v0"], detail=True)], [12, 13])
    fails(lambda: fs.ls(TWO["v0"]), "", NotADirectoryError)


def reading(fs):
    with open(os.path.join(SET["inputs"], TWO["file"]), "rb") as file:
        content = file.read()
    true(fs.cat(TWO["v0"]) == content, "cat of a whole file")
    true(fs.cat_file(TWO["v0"], start=262140, end=262145) == content[262140:], "cat of a part")
    with fs.open(PLANETS["v1"] + "/venus.txt") as file:
        equal(file.read(), b"Hello Venus!\n")
    with fsspec.open(f"ipfs://{PLANETS['v0']}/mars.txt", gateway_addr=SET["gateway"]) as file:
        equal(file.read(), b"Hello Mars!\n")


def getting(fs):
    target = os.path.join(SET["scratch"], "spec")
    # With recursive=True this version opens the folder itself for writing, whatever server it reads from.
    files = fs.find(PLANETS["v0"])
    equal(sorted(files), [PLANETS["v0"] + "/mars.txt", PLANETS["v0"] + "/venus.txt"])
    fs.get(files, [os.path.join(target, os.path.basename(file)) for file in files])
    found = {name: open(os.path.join(target, name), encoding="utf-8").read() for name in os.listdir(target)}
    equal(found, PLANETS["files"])


def main():
    checks = Checks(f"ipfsspec {VERSION}")
    fs = fsspec.filesystem("ipfs", gateway_addr=SET["gateway"])
    checks.check("info, exists, isdir, isfile", infos, fs)
    checks.check("ls", listing, fs)
    checks.check("cat, ranges, open, ipfs:// URLs", reading, fs)
    checks.check("find and get of a folder's files", getting, fs)
    checks.end()


main()
