"""Asks aleph-cid, a Rust program of others, for the CIDs of files and folders.

    aleph_oracle.py JOBS

JOBS is a JSON list of {"name", "path", "version", "car"}; the answer is one line a job, `name TAB cid`.
Version 0 means dag-pb leaves, version 1 raw leaves; chunks, width and sharding are Kubo's defaults.
A folder with "car" is also packed into a CAR file at that path.
"""

import json
import os
import sys

import aleph_cid


def file_cid(path, version):
    hasher = aleph_cid.CidHasher.for_ipfs() if version == 0 else aleph_cid.CidHasher.for_ipfs_v1_raw_leaves()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return hasher.finalize()


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        jobs = json.load(file)
    for job in jobs:
        path, version = job["path"], job["version"]
        if os.path.isdir(path):
            cid = aleph_cid.hash_folder(path, cid_version=version, follow_symlinks=False)
            if job.get("car"):
                packed = aleph_cid.write_folder_car(path, job["car"], cid_version=version, follow_symlinks=False)
                assert packed == cid, f"{job['name']}: its own CAR has another root"
        else:
            cid = file_cid(path, version)
        print(f"{job['name']}\t{cid}")


main()
