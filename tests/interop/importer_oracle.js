// Asks the JavaScript importer for the CIDs of files and directories.
//
//     node importer_oracle.js MODULES JOBS
//
// MODULES is the folder that holds node_modules. JOBS is a JSON list of {"name", "path", "options"};
// the answer is one line a job, `name TAB cid`. Options (all optional): cidVersion, rawLeaves,
// chunker ("size-N" or "rabin-MIN-AVG-MAX"), layout ("balanced" | "trickle"), maxChildren,
// shardThreshold (bytes), shardStrategy, shardFanoutBits, profile.

import { createReadStream, lstatSync, readFileSync, readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { rabin } from './rabin.js'

const [modules, jobsPath] = process.argv.slice(2)
const base = join(modules, 'node_modules', 'ipfs-unixfs-importer', 'dist', 'src')
const load = async (path) => await import(pathToFileURL(join(base, path)).href)
const { importer } = await load('index.js')
const { fixedSize } = await load('chunker/fixed-size.js')
const { balanced } = await load('layout/balanced.js')
const { trickle } = await load('layout/trickle.js')

// Only the root CIDs matter: the blocks go nowhere.
const nowhere = { put: async (cid) => cid }

function chunkerOf (spec) {
  const parts = spec.split('-')
  const sizes = parts.slice(1).map(Number)
  if (parts[0] === 'size') return fixedSize({ chunkSize: sizes[0] })
  if (parts[0] === 'rabin') return rabin(...sizes)
  throw new Error(`unknown chunker ${spec}`)
}

function importerOptions (options) {
  const out = { profile: options.profile ?? 'unixfs-v0-2015' }
  if (options.cidVersion != null) out.cidVersion = options.cidVersion
  if (options.rawLeaves != null) out.rawLeaves = options.rawLeaves
  if (options.chunker != null) out.chunker = chunkerOf(options.chunker)
  if (options.shardThreshold != null) out.shardSplitThresholdBytes = options.shardThreshold
  if (options.shardStrategy != null) out.shardSplitStrategy = options.shardStrategy
  if (options.shardFanoutBits != null) out.shardFanoutBits = options.shardFanoutBits
  const maxChildren = options.maxChildren ?? (out.profile === 'unixfs-v1-2025' ? 1024 : 174)
  if (options.layout === 'trickle') {
    out.layout = trickle({ maxChildrenPerNode: maxChildren })
    // What Kubo's trickle does: dag-pb leaves of the type raw, and never a leaf as the root.
    out.leafType = 'raw'
    out.reduceSingleLeafToSelf = false
  } else {
    out.layout = balanced({ maxChildrenPerNode: maxChildren })
  }
  return out
}

function * candidates (path, name) {
  const stat = lstatSync(path)
  if (stat.isSymbolicLink()) {
    yield { path: name, link: readlinkSync(path) }
  } else if (stat.isDirectory()) {
    yield { path: name }
    for (const entry of readdirSync(path).sort()) {
      yield * candidates(join(path, entry), `${name}/${entry}`)
    }
  } else {
    yield { path: name, content: createReadStream(path, { highWaterMark: 1 << 20 }) }
  }
}

for (const job of JSON.parse(readFileSync(jobsPath, 'utf8'))) {
  let last = null
  for await (const entry of importer(candidates(job.path, 'root'), nowhere, importerOptions(job.options ?? {}))) {
    last = entry
  }
  // Some layouts of this importer give nothing at all for an empty file.
  console.log(`${job.name}\t${last === null ? 'none' : last.cid.toString()}`)
}
