// A Helia 7 as a peer: a light node with libp2p over TCP, Bitswap and the LAN DHT, and nothing else
// (no bootstrap peers, HTTP routers, gateways, relays, UPnP or AutoTLS, which `createHelia()` brings).
//
//     HOLDFAST_MODULES=FOLDER node --import ../strangers/from.mjs helia_node.mjs SETTINGS
//
// SETTINGS is a JSON object: `listen` (multiaddrs on 127.0.0.1 or 10.x; default TCP on a free port), `mdns`,
// `message_bytes_max` (Bitswap messages; Helia's default of 2 MiB holds no block of 2 MiB), `tls` (instead of noise),
// `websocket` (instead of plain TCP). It dials no address
// outside those networks. Then it speaks the protocol of lines.py; what fetches goes to the network for what
// is not there:
//
//     id, connect addr, peers
//     add        path, params        {"cid", "seconds"}: a file, or a folder of files. Without `params` with Helia's
//                                    defaults; with {"cid_version", "raw_leaves", "chunk_bytes", "links_max"} as these say
//     put_block  path                {"cid"}: the file as one raw block
//     block      cid                 {"bytes", "sha256"}: one block
//     chain      nodes               {"cid"}: of dag-cbor nodes, each {"n", "next"}; the CID of the newest
//     cat        cid                 {"bytes", "sha256", "seconds"}
//     list       cid                 {"entries", "sha256", "seconds"}: names and CIDs, sorted, hashed; content not read
//     walk       cid                 {"nodes", "seconds"}: a chain to its end
//     provide    cid                 {"stored"}: how many peers took it
//     providers  cid, count          [{"id", "addrs"}]
//     find_peer  id                  [multiaddr]
//     ipns_publish   key, value      {"name", "record", "key"}: record and routing key in base64
//     ipns_resolve   name            {"value", "sequence"}: from the network, not from its cache
//     ipns_record    key, value, sequence, lifetime_ms    {"name", "record", "key"}: made, published nowhere
//     dht_put    key, record         {"stored": [id], "refused": [id]}
//     dht_get    key                 [{"from", "record"}]

import { createHash } from 'node:crypto'
import { createReadStream, readFileSync, readdirSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { withBitswap } from '@helia/bitswap'
import { createIPNSRecord, ipns, IPNSEntry, multihashToIPNSRoutingKey } from '@helia/ipns'
import { withLibp2pLight } from '@helia/libp2p'
import { unixfs } from '@helia/unixfs'
import * as dagCbor from '@ipld/dag-cbor'
import { identify, identifyPush } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { mdns } from '@libp2p/mdns'
import { noise } from '@libp2p/noise'
import { peerIdFromString } from '@libp2p/peer-id'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { webSockets } from '@libp2p/websockets'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createHeliaLight } from 'helia'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'
import { base36 } from 'multiformats/bases/base36'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { sha256 } from 'multiformats/hashes/sha2'
import { say, serve } from './lines.mjs'

const settings = JSON.parse(process.argv[2])
const listen = settings.listen ?? [`/ip4/127.0.0.1/tcp/0${settings.websocket ? '/ws' : ''}`]
const near = address => /^\/ip4\/(127|10)\./.test(address.toString())
if (!listen.every(near)) throw new Error(`only loopback and 10.x listeners, not ${listen}`)

const messageBytesMax = settings.message_bytes_max ?? 4 << 20
const helia = withBitswap(withLibp2pLight(createHeliaLight({ codecs: [dagCbor] }), {
  addresses: { listen },
  transports: [settings.websocket ? webSockets() : tcp()],
  connectionEncrypters: [settings.tls ? tls() : noise()],
  streamMuxers: [yamux()],
  connectionGater: { denyDialMultiaddr: address => !near(address) },
  peerDiscovery: settings.mdns ? [mdns({ interval: 2000 })] : [],
  services: {
    identify: identify(),
    identifyPush: identifyPush(),
    ping: ping(),
    dht: kadDHT({ protocol: '/ipfs/lan/kad/1.0.0', clientMode: false, peerInfoMapper: passthroughMapper })
  }
}), { maxOutgoingMessageSize: messageBytesMax, maxIncomingMessageSize: messageBytesMax })

const base64 = bytes => Buffer.from(bytes).toString('base64')
const bytesOf = text => new Uint8Array(Buffer.from(text, 'base64'))
const seconds = start => (performance.now() - start) / 1000

async function last (parts) {
  let part
  for await (part of parts);
  return part
}

async function putNode (value) {
  const bytes = dagCbor.encode(value)
  const cid = CID.createV1(dagCbor.code, await sha256.digest(bytes))
  await helia.blockstore.put(cid, bytes)
  return cid
}

async function bytesOfBlock (cid) {
  const parts = []
  for await (const part of helia.blockstore.get(cid)) parts.push(part)
  return Buffer.concat(parts)
}

// What `add -r` makes of a folder: the folder itself is the last.
function * filesOf (path) {
  for (const name of readdirSync(path).sort()) {
    yield { path: `${basename(path)}/${name}`, content: readFileSync(join(path, name)) }
  }
}

// Options of the importer that differ from Helia's defaults.
function importOptions (params) {
  if (params == null) return {}
  const { cid_version: cidVersion, raw_leaves: rawLeaves, chunk_bytes: chunkSize, links_max: maxChildrenPerNode } = params
  return { cidVersion, rawLeaves, chunker: fixedSize({ chunkSize }), layout: balanced({ maxChildrenPerNode }) }
}

async function peersAsked (events) {
  const stored = new Set()
  const refused = new Set()
  for await (const event of events) {
    if (event.name === 'PEER_RESPONSE' && ['PUT_VALUE', 'ADD_PROVIDER'].includes(event.messageName)) {
      stored.add(event.from.toString())
    }
    if (event.name === 'QUERY_ERROR') refused.add(event.from.toString())
  }
  // A peer that answered with another record has not kept ours.
  for (const id of refused) stored.delete(id)
  return { stored: [...stored], refused: [...refused] }
}

async function keyNamed (name) {
  for await (const key of helia.keychain.listKeys()) {
    if (key.name === name) return await helia.keychain.exportKey(name)
  }
  return await helia.keychain.generateKey(name, { type: 'Ed25519' })
}

function recordFor (key, record) {
  const digest = key.publicKey.toMultihash()
  return {
    name: key.publicKey.toCID().toString(base36),
    record: base64(IPNSEntry.encode(record)),
    key: base64(multihashToIPNSRoutingKey(digest))
  }
}

await helia.start()
const files = unixfs(helia)
const names = ipns(helia)
const dht = helia.libp2p.services.dht

const actions = {
  id () {
    return { id: helia.libp2p.peerId.toString(), addrs: helia.libp2p.getMultiaddrs().map(String) }
  },
  async connect ({ addr }) {
    await helia.libp2p.dial(multiaddr(addr))
  },
  peers () {
    return helia.libp2p.getConnections().map(c => ({ id: c.remotePeer.toString(), addr: c.remoteAddr.toString() }))
  },
  async add ({ path, params }) {
    const start = performance.now()
    const options = importOptions(params)
    const cid = statSync(path).isDirectory()
      ? (await last(files.addAll(filesOf(path), options))).cid
      : await files.addByteStream(createReadStream(path), options)
    return { cid: cid.toString(), seconds: seconds(start) }
  },
  async put_block ({ path }) {
    const bytes = readFileSync(path)
    const cid = CID.createV1(raw.code, await sha256.digest(bytes))
    await helia.blockstore.put(cid, bytes)
    return { cid: cid.toString() }
  },
  async block ({ cid }) {
    const bytes = await bytesOfBlock(CID.parse(cid))
    return { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
  },
  async chain ({ nodes }) {
    let next = null
    for (let n = 0; n < nodes; n++) next = await putNode({ n, next })
    return { cid: next.toString() }
  },
  async cat ({ cid }) {
    const start = performance.now()
    const hash = createHash('sha256')
    let bytes = 0
    for await (const part of files.cat(CID.parse(cid))) {
      hash.update(part)
      bytes += part.length
    }
    return { bytes, sha256: hash.digest('hex'), seconds: seconds(start) }
  },
  async list ({ cid }) {
    const start = performance.now()
    const found = []
    for await (const entry of files.ls(CID.parse(cid))) found.push(`${entry.name} ${entry.cid}\n`)
    const hash = createHash('sha256').update(found.sort().join('')).digest('hex')
    return { entries: found.length, sha256: hash, seconds: seconds(start) }
  },
  async walk ({ cid }) {
    const start = performance.now()
    let nodes = 0
    for (let at = CID.parse(cid); at != null; nodes++) at = dagCbor.decode(await bytesOfBlock(at)).next
    return { nodes, seconds: seconds(start) }
  },
  async provide ({ cid }) {
    const { stored } = await peersAsked(dht.provide(CID.parse(cid)))
    return { stored: stored.length }
  },
  async providers ({ cid, count }) {
    const found = new Map()
    for await (const event of dht.findProviders(CID.parse(cid))) {
      const providers = event.name === 'PROVIDER' || event.name === 'PEER_RESPONSE' ? event.providers : []
      for (const { id, multiaddrs } of providers) found.set(id.toString(), multiaddrs.map(String))
      if (found.size >= count) break
    }
    return [...found].map(([id, addrs]) => ({ id, addrs }))
  },
  async find_peer ({ id }) {
    const peer = await helia.libp2p.peerRouting.findPeer(peerIdFromString(id), { useCache: false })
    return peer.multiaddrs.map(String)
  },
  async ipns_publish ({ key, value }) {
    const { record } = await names.publish(key, CID.parse(value))
    return recordFor(await keyNamed(key), record)
  },
  async ipns_resolve ({ name }) {
    const { value, record } = await last(names.resolve(CID.parse(name, base36), { nocache: true }))
    return { value, sequence: Number(dagCbor.decode(record.data).Sequence) }
  },
  async ipns_record ({ key, value, sequence, lifetime_ms: lifetime }) {
    const own = await keyNamed(key)
    return recordFor(own, await createIPNSRecord(own, CID.parse(value), sequence, lifetime))
  },
  async dht_put ({ key, record }) {
    return await peersAsked(dht.put(bytesOf(key), bytesOf(record)))
  },
  async dht_get ({ key }) {
    const found = []
    for await (const event of dht.get(bytesOf(key))) {
      if (event.name === 'VALUE') found.push({ from: event.from.toString(), record: base64(event.value) })
    }
    return found
  }
}

say({ ready: actions.id() })
await serve(actions)
// A node that hangs in its stop is not worth waiting for.
await Promise.race([helia.stop(), new Promise(resolve => setTimeout(resolve, 2000))])
process.exit(0)
