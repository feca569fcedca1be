"""One line a check, all checks run, and a failing exit code when one of them failed."""

import json
import os
import sys
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))


def known():
    """Inputs and what Kubo makes of them."""
    with open(os.path.join(HERE, "known.json"), encoding="utf-8") as file:
        return json.load(file)


def settings():
    """The script's only argument, a JSON object."""
    return json.loads(sys.argv[1])


def equal(found, wanted, what=""):
    if found != wanted:
        raise AssertionError(f"{what}: found {found!r}, wanted {wanted!r}")


def true(found, what):
    if not found:
        raise AssertionError(what)


def fails(run, words, kind=Exception):
    """Runs `run`, which must fail with an error that says `words`."""
    try:
        value = run()
    except kind as error:
        if words not in str(error):
            raise AssertionError(f"it failed with {error!r}, without the words {words!r}") from error
        return
    raise AssertionError(f"it should have failed with {words!r}, and gave {value!r}")


async def fails_async(awaitable, words):
    """Awaits what must fail with an error that says `words`."""
    try:
        value = await awaitable
    except Exception as error:
        text = f"{error} {getattr(error, 'message', '')}"
        if words not in text:
            raise AssertionError(f"it failed with {error!r}, without the words {words!r}") from error
        return
    raise AssertionError(f"it should have failed with {words!r}, and gave {value!r}")


def same_tree(one, other):
    """Compares two folders byte for byte; symlinks by their targets."""
    def listing(root):
        found = {}
        for folder, folders, files in os.walk(root):
            for name in folders + files:
                path = os.path.join(folder, name)
                if os.path.islink(path):
                    found[os.path.relpath(path, root)] = os.readlink(path)
                elif os.path.isfile(path):
                    with open(path, "rb") as file:
                        found[os.path.relpath(path, root)] = file.read()
                else:
                    found[os.path.relpath(path, root)] = None
        return found

    left, right = listing(one), listing(other)
    equal(sorted(left), sorted(right), "names")
    for name, value in left.items():
        true(value == right[name], f"{name} differs")


class Checks:
    def __init__(self, who):
        self.who = who
        self.passed = 0
        self.failed = 0

    def _good(self, name):
        self.passed += 1
        print(f"ok      {name}", flush=True)

    def _bad(self, name):
        self.failed += 1
        lines = traceback.format_exc(limit=-4).strip().splitlines()
        print(f"FAILED  {name}: " + "\n          ".join(lines[-14:]), flush=True)

    def check(self, name, run, *args):
        try:
            run(*args)
            self._good(name)
        except Exception:
            self._bad(name)

    async def check_async(self, name, run, *args):
        try:
            await run(*args)
            self._good(name)
        except Exception:
            self._bad(name)

    def end(self):
        """Prints the totals and ends the process: 0 when everything passed."""
        print(f"{self.who}: {self.passed} passed, {self.failed} failed", flush=True)
        # Not sys.exit: a client's own threads must not keep the process.
        sys.stdout.flush()
        os._exit(0 if self.failed == 0 and self.passed > 0 else 1)
