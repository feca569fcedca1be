// kubo-rpc-client drives a daemon through everything that a user of it can do without peers.
//
//     HOLDFAST_MODULES=FOLDER node --import ../from.mjs main.mjs SETTINGS
//
// SETTINGS is a JSON object: `api` and `auth_api` (URLs), `inputs` (folder), `tree_cid`, `service` (`endpoint` and `key` of
// a pinning service).

import { readFileSync } from 'node:fs'
import { create, globSource, CID } from 'kubo-rpc-client'
import { Checks } from '../checks.mjs'
import { add, blocks, dags, read } from './content.mjs'
import { files, pins } from './keep.mjs'
import { authorization, cancellation, names, node } from './node.mjs'
import { services } from './services.mjs'

const known = JSON.parse(readFileSync(new URL('../known.json', import.meta.url)))
const settings = { ...JSON.parse(process.argv[2]), known }
const checks = new Checks('kubo-rpc-client 7.1.0')
const ipfs = create({ url: settings.api })
const all = { checks, ipfs, create, globSource, CID, known, settings, inputs: settings.inputs, treeCid: settings.tree_cid }

for (const part of [add, read, blocks, dags, pins, services, files, names, node, cancellation, authorization]) {
  await part(all)
}
checks.end()
