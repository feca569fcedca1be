"""Seconds that Kubo 0.22, loaded as a shared library, takes to add a file or directory to a fresh repo.

    kubo_time.py LIBRARY REPO PATH [--only-hash]

Making the repo is not timed. The library opens its node for every call, which is; it takes less than 0.1 s.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "interop"))

import kubo_oracle  # noqa: E402


def main():
    library, repo, path = sys.argv[1:4]
    kubo_oracle.leave_network()
    kubo = kubo_oracle.load(library)
    kubo_oracle.make_repo(kubo, repo)
    start = time.monotonic()
    address = kubo.AddFile(os.fsencode(repo), os.fsencode(path), "--only-hash" in sys.argv[4:])
    seconds = time.monotonic() - start
    if not address:
        sys.exit("kubo_time: AddFile failed")
    print(f"{seconds:.3f}", flush=True)
    # The library's threads do not end by themselves.
    os._exit(0)


main()
