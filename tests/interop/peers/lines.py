"""The protocol between a test and a foreign peer: one JSON object a line, both ways.

First the peer says `{"ready": {...}}`, or `{"error": "..."}` and ends. Then the test asks
`{"n": 1, "do": "connect", ...}`, and gets `{"n": 1, "ok": ...}` or `{"n": 1, "error": "..."}`.
Requests run beside each other, so answers may come in another order. The peer ends at the end of
its input, so that none outlives its test.
"""

import json
import os
import sys
import threading

_lock = threading.Lock()
_out = None


def take_stdout():
    """Keeps the real standard output for answers: whatever a library prints goes to standard error."""
    global _out
    _out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)


def say(answer):
    with _lock:
        _out.write(json.dumps(answer) + "\n")
        _out.flush()


def serve(actions):
    """Answers requests with the functions of `actions`, which take the request, until the input ends."""

    def answer(request):
        number = request.get("n")
        try:
            say({"n": number, "ok": actions[request["do"]](request)})
        # Whatever went wrong belongs to the test that asked.
        except Exception as error:  # pylint: disable=broad-except
            say({"n": number, "error": f"{type(error).__name__}: {error}"})

    for line in sys.stdin:
        threading.Thread(target=answer, args=(json.loads(line),), daemon=True).start()
