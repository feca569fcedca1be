"""What a Kubo that a test starts may do: reach peers on loopback, or on the test's own 10.x network.

`close_doors` edits the config that `ipfs init` wrote, before the node runs. It serves Kubo 0.22 and
current Kubo; keys that a version does not know are ignored by it.
"""

import json
import os

# All of IPv4 but 127/8, and all but 10/8: a filter has no exceptions.
NOT_LOOPBACK = ["0.0.0.0/2", "64.0.0.0/3", "96.0.0.0/4", "112.0.0.0/5", "120.0.0.0/6", "124.0.0.0/7",
                "126.0.0.0/8", "128.0.0.0/1"]
NOT_TEN = ["0.0.0.0/5", "8.0.0.0/7", "11.0.0.0/8", "12.0.0.0/6", "16.0.0.0/4", "32.0.0.0/3", "64.0.0.0/2",
           "128.0.0.0/1"]


def filters(listen):
    """Filters that leave only the network of the listeners, for dials and for inbound connections."""
    closed = NOT_LOOPBACK if all("/127.0.0.1/" in address for address in listen) else NOT_TEN
    return [f"/ip4/{block.split('/')[0]}/ipcidr/{block.split('/')[1]}" for block in closed] + ["/ip6/::/ipcidr/0"]


def set_sync(spec, sync):
    """Sets `sync` wherever a datastore's spec has it: mounts and what wraps them nest as their makers like."""
    if isinstance(spec, list):
        for part in spec:
            set_sync(part, sync)
    elif isinstance(spec, dict):
        if "sync" in spec:
            spec["sync"] = sync
        for part in spec.values():
            set_sync(part, sync)


def close_doors(repo, settings):
    """Edits `repo/config`. Of `settings` it reads `listen`, `mdns`, `routing`, `sync` and `config` (dotted keys)."""
    path = os.path.join(repo, "config")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    listen = settings.get("listen") or ["/ip4/127.0.0.1/tcp/0"]
    if not all("/ip4/127.0.0.1/" in address or "/ip4/10." in address for address in listen):
        raise ValueError(f"only loopback and 10.x listeners, not {listen}")
    config["Bootstrap"] = []
    config["Peering"] = {"Peers": []}
    config["Addresses"] = {"Swarm": listen, "Announce": [], "AppendAnnounce": [], "NoAnnounce": [],
                           "API": ["/ip4/127.0.0.1/tcp/0"], "Gateway": []}
    config["Discovery"] = {"MDNS": {"Enabled": bool(settings.get("mdns"))}}
    # DNS, HTTP routers, automatic configuration, certificates, version checks, telemetry: none.
    config["DNS"] = {"Resolvers": {}}
    config["Routing"] = {"Type": settings.get("routing", "dht"), "DelegatedRouters": [],
                         "LoopbackAddressesOnLanDHT": True}
    config["Ipns"] = {**config.get("Ipns", {}), "DelegatedPublishers": []}
    config["AutoConf"] = {"Enabled": False}
    config["AutoTLS"] = {"Enabled": False}
    config["HTTPRetrieval"] = {"Enabled": False}
    config["Version"] = {"SwarmCheckEnabled": False}
    config["Plugins"] = {"Plugins": {"telemetry": {"Disabled": True, "Config": {"Mode": "off"}}}}
    config["AutoNAT"] = {"ServiceMode": "disabled"}
    swarm = config.setdefault("Swarm", {})
    swarm["AddrFilters"] = filters(listen)
    swarm["DisableNatPortMap"] = True
    swarm["RelayClient"] = {"Enabled": False}
    swarm["RelayService"] = {"Enabled": False}
    swarm["EnableHolePunching"] = False
    swarm["Transports"] = {"Network": {"Relay": False, "WebTransport": False, "Websocket": False,
                                       "WebRTCDirect": False}, "Security": {}, "Multiplexers": {}}
    # Tests wait for thousands of blocks; none asks what survives a power cut.
    set_sync(config.get("Datastore", {}).get("Spec"), bool(settings.get("sync")))
    for key, value in settings.get("config", {}).items():
        *folders, name = key.split(".")
        at = config
        for folder in folders:
            at = at.setdefault(folder, {})
        at[name] = value
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)
    if settings.get("swarm_key"):
        with open(os.path.join(repo, "swarm.key"), "w", encoding="utf-8") as file:
            file.write(settings["swarm_key"])


def environment(repo):
    """The environment of a Kubo process: its repo, and nothing that phones home."""
    return {"PATH": os.environ.get("PATH", ""), "HOME": repo, "IPFS_PATH": repo, "IPFS_TELEMETRY": "off",
            "LIBP2P_FORCE_PNET": ""}
