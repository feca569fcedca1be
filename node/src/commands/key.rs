//! `init`, `id` and `key`.

use super::registry::{Arg, Command, Needs, Opt};

pub(super) fn init() -> Command {
    Command::new("init", "Initialize IPFS config file and repository.")
        .help(
            "Makes a repository, with a new identity, in the folder that IPFS_PATH or --repo-dir names.\n\nProfiles \
             (comma-separated) change the config from the start: server, lowpower, test and others; see 'config \
             profile apply'.",
        )
        .arg(Arg::file("default-config", "Initialize with the given configuration."))
        .opt(Opt::string("algorithm a", "Cryptographic algorithm to use for key generation: ed25519 or rsa.").default("ed25519"))
        .opt(Opt::int("bits b", "Number of bits to use in the generated RSA private key."))
        .opt(Opt::bool("empty-repo e", "Don't add and pin help files to the local storage.").default(true))
        .opt(Opt::string("profile p", "Apply profile settings to config. Multiple profiles can be separated by ','."))
        .needs(Needs::Nothing)
        .terminal_only()
        .planned(super::planned::NOT_YET)
}

pub(super) fn id() -> Command {
    Command::new("id", "Show IPFS node id info.")
        .help(
            "Prints this node's peer ID, public key, addresses, agent and protocols.\n\n--format takes any text with \
             <id>, <aver>, <pver>, <pubkey>, <addrs> and <protocols> in it.",
        )
        .arg(Arg::text("peerid", "Peer.ID of node to look up.").stdin())
        .opt(Opt::string("format f", "Optional output format."))
        .opt(Opt::string("peerid-base", "Encoding used for peer IDs: b58mh or a multibase for CIDv1.").default("b58mh"))
        .planned(super::planned::NOT_YET)
}

pub(super) fn command() -> Command {
    Command::new("key", "Create and list IPNS name keypairs.")
        .subcommand(
            Command::new("export", "Export a keypair.")
                .help("Writes a named private key to a file: by default <name>.key, in the protobuf form of libp2p.")
                .arg(Arg::text("name", "Name of key to export.").required())
                .opt(Opt::string("output o", "The path where the output should be stored."))
                .opt(Opt::string("format f", "The format of the exported private key: libp2p-protobuf-cleartext or pem-pkcs8-cleartext.").default("libp2p-protobuf-cleartext"))
                .terminal_only()
                .planned(super::planned::NOT_YET),
        )
        .subcommand(
            Command::new("gen", "Create a new keypair.")
                .arg(Arg::text("name", "Name of key to create.").required())
                .opt(Opt::string("type t", "Type of the key to create: rsa, ed25519.").default("ed25519"))
                .opt(Opt::int("size s", "Size of the key to generate."))
                .opt(ipns_base())
                .planned(super::planned::NOT_YET),
        )
        .subcommand(
            Command::new("import", "Import a key and prints imported key id.")
                .arg(Arg::text("name", "Name to associate with key in keychain.").required())
                .arg(Arg::file("key", "Key provided by generate or export.").required())
                .opt(ipns_base())
                .opt(Opt::string("format f", "The format of the private key to import: libp2p-protobuf-cleartext or pem-pkcs8-cleartext.").default("libp2p-protobuf-cleartext"))
                .opt(Opt::bool("allow-any-key-type", "Allow importing any key type."))
                .planned(super::planned::NOT_YET),
        )
        .subcommand(list("list"))
        .subcommand(list("ls"))
        .subcommand(
            Command::new("rename", "Rename a keypair.")
                .arg(Arg::text("name", "Name of key to rename.").required())
                .arg(Arg::text("newName", "New name of the key.").required())
                .opt(Opt::bool("force f", "Allow to overwrite an existing key."))
                .opt(ipns_base())
                .planned(super::planned::NOT_YET),
        )
        .subcommand(
            Command::new("rm", "Remove a keypair.")
                .arg(Arg::text("name", "Names of keys to remove.").required().variadic().stdin())
                .opt(Opt::bool("l", "Show extra information about keys."))
                .opt(ipns_base())
                .planned(super::planned::NOT_YET),
        )
}

/// `key list` and its other name.
fn list(name: &'static str) -> Command {
    Command::new(name, "List all local keypairs.")
        .opt(Opt::bool("l", "Show extra information about keys."))
        .opt(ipns_base())
        .planned(super::planned::NOT_YET)
}

fn ipns_base() -> Opt {
    Opt::string("ipns-base", "Encoding used for keys: b58mh or a multibase for CIDv1.").default("base36")
}
