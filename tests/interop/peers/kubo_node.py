"""A Kubo as a peer: Kubo 0.22 as a shared library, or with KUBO_BIN=path that `ipfs` binary.

    kubo_node.py SETTINGS

SETTINGS is a JSON object: `library` (the shared library), `repo` (a folder to make), `listen`
(multiaddrs on 127.0.0.1 or 10.x; default TCP on a free port), `mdns`, `routing` (the binary's
`Routing.Type`), `swarm_key` (the file's text), `sync` (every block is synced, as Kubo does by default; here it does
not), `config` (dotted keys to set). Then it speaks the protocol of lines.py:

    id                          {"id", "addrs"}: addresses end in /p2p/ID
    connect    addr
    peers                       [{"id", "addr"}]
    add        path             {"cid", "seconds"}: a file or a folder, with Kubo's defaults
    only_hash  path             {"cid"}
    get        cid, path        {"seconds"}: a file or a folder, from wherever it is found
    pin        cid
    unpin      cid
    pins                        [cid]
    find_peer  id, seconds      [multiaddr]
    publish    topic, data      data in base64, as below
    subscribe  topic            then `message` gives one
    message    topic, seconds   {"from", "data"}
    topic_peers  topic          [id]
    rpc        command, args, body     the binary only: any command of its RPC

The library exports (`nm -D`): CreateRepo RunNode CleanupNode GetNodeID GetNodeMultiAddrs; AddFile Download
PinCID UnpinCID ListPins RemoveCID; ConnectToPeer ListPeers ListPeersIDs FindPeer; PubSubEnable PubSubListTopics
PubSubPublish PubSubSubscribe PubSubNextMessage PubSubUnsubscribe PubSubPeers PubSubCloseRepoSubscriptions
PubSubCloseAllSubscriptions; P2PEnable P2PListen P2PForward P2PClose P2PListListeners P2PListForwards
P2PCloseAllListeners P2PCloseAllForwards; FreeString TestGetString. It has no block, dag, routing or name
calls. It always runs both DHTs (LAN as a server) and pubsub, whatever `Routing.Type` and `Pubsub` say.
"""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import lines  # noqa: E402


def main():
    settings = json.loads(sys.argv[1])
    lines.take_stdout()
    try:
        if os.environ.get("KUBO_BIN"):
            from kubo_binary import Kubo
        else:
            from kubo_library import Kubo
        os.makedirs(settings["repo"], exist_ok=True)
        kubo = Kubo(settings)
        lines.say({"ready": kubo.id({})})
    # The test has to know why there is no peer.
    except Exception as error:  # pylint: disable=broad-except
        lines.say({"error": f"{type(error).__name__}: {error}"})
        raise
    names = ["id", "connect", "peers", "add", "only_hash", "get", "pin", "unpin", "pins", "find_peer", "publish",
             "subscribe", "message", "topic_peers", "rpc"]
    lines.serve({name: getattr(kubo, name) for name in names if hasattr(kubo, name)})
    kubo.stop()
    # The library's threads do not end by themselves.
    os._exit(0)


if __name__ == "__main__":
    main()
