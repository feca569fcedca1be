"""Asks Kubo 0.22, loaded as a shared library, for the CIDs of files and directories.

    kubo_oracle.py LIBRARY REPO JOBS

JOBS is a JSON list of {"name", "path"}; the answer is one line a job, `name TAB cid`.
Kubo knows one import here: its defaults of 2023, which are the profile `unixfs-v0-2015`.

The library opens a whole node for every call, so its config is edited to loopback and no peers
before the first one, and the process leaves the host's network where it may.
"""

import ctypes
import json
import os
import sys

CLONE_NEWNET = 0x40000000


def leave_network():
    """Moves into an empty network namespace; without the right to, the edited config must do."""
    ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET)


def load(path):
    kubo = ctypes.CDLL(path)
    kubo.CreateRepo.argtypes = [ctypes.c_char_p]
    kubo.CreateRepo.restype = ctypes.c_int
    kubo.AddFile.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_bool]
    # A plain address: c_char_p would be turned into bytes and the string could not be freed.
    kubo.AddFile.restype = ctypes.c_void_p
    kubo.FreeString.argtypes = [ctypes.c_void_p]
    kubo.FreeString.restype = None
    kubo.CleanupNode.argtypes = [ctypes.c_char_p]
    kubo.CleanupNode.restype = ctypes.c_int
    return kubo


def make_repo(kubo, repo):
    os.makedirs(repo, exist_ok=True)
    if kubo.CreateRepo(os.fsencode(repo)) < 0:
        sys.exit("kubo_oracle: CreateRepo failed")
    path = os.path.join(repo, "config")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    config["Bootstrap"] = []
    config["Addresses"]["Swarm"] = ["/ip4/127.0.0.1/tcp/0"]
    config["Addresses"]["API"] = []
    config["Addresses"]["Gateway"] = []
    config["Discovery"]["MDNS"]["Enabled"] = False
    config["Routing"] = {"Type": "none"}
    config["Swarm"]["DisableNatPortMap"] = True
    config["Swarm"]["RelayClient"] = {"Enabled": False}
    config["AutoNAT"] = {"ServiceMode": "disabled"}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)


def main():
    library, repo, jobs_path = sys.argv[1:4]
    leave_network()
    kubo = load(library)
    make_repo(kubo, repo)
    with open(jobs_path, encoding="utf-8") as file:
        jobs = json.load(file)
    for job in jobs:
        address = kubo.AddFile(os.fsencode(repo), os.fsencode(job["path"]), True)
        answer = ctypes.string_at(address).decode() if address else ""
        if address:
            kubo.FreeString(address)
        print(f"{job['name']}\t{answer}", flush=True)
    # The library's threads do not end by themselves.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
