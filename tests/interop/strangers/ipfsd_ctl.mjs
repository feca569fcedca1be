// ipfsd-ctl spawns the binary as it spawns Kubo, uses it, and stops it, again and again.
//
//     HOLDFAST_MODULES=FOLDER node --import ./from.mjs ipfsd_ctl.mjs SETTINGS
//
// SETTINGS is a JSON object: `bin` (path) and `times`. Its stop() gives the process one second from
// the answer of `shutdown`, and then kills it without a word: so the end of each process is looked at.

import { existsSync } from 'node:fs'
import { createNode } from 'ipfsd-ctl'
import { create } from 'kubo-rpc-client'
import { assert, bytes, Checks } from './checks.mjs'

const { bin, times } = JSON.parse(process.argv[2])
const checks = new Checks('ipfsd-ctl 17.0.0')
const stops = []

// What a user of the harness may ask for when a daemon starts.
const shapes = [{}, { offline: true }, { pubsub: true }, { ipnsPubsub: true, pubsub: true }, { repoAutoMigrate: true }]

async function stop (node) {
  const { subprocess } = node
  let kills = 0
  const kill = subprocess.kill.bind(subprocess)
  subprocess.kill = (...args) => {
    kills++
    return kill(...args)
  }
  const begun = performance.now()
  await node.stop()
  stops.push(Math.round(performance.now() - begun))
  assert.equal(kills, 0, 'it had to be killed')
  assert.deepEqual([subprocess.exitCode, subprocess.signalCode], [0, null])
}

for (let i = 0; i < times; i++) {
  const start = shapes[i % shapes.length]
  await checks.check(`spawn, use and stop ${i + 1} of ${times} ${JSON.stringify(start)}`, async () => {
    const node = await createNode({ type: 'kubo', test: true, disposable: true, bin, rpc: create, start })
    const info = await node.info()
    assert.match(info.version, /^ipfs version 0\.44\./)
    assert.equal(info.peerId, (await node.api.id()).id.toString())
    assert.equal(info.pid, node.subprocess.pid)
    assert.match(info.gateway ?? '', /^$|^http:\/\/127\.0\.0\.1:\d+/)
    const { cid } = await node.api.add(`content ${i}`)
    assert.equal((await bytes(node.api.cat(cid))).toString(), `content ${i}`)
    await stop(node)
    assert.ok(!existsSync(info.repo), 'the repo was not removed')
  })
}

await checks.check('a repo that is kept holds its pins over a stop and a start', async () => {
  const node = await createNode({ type: 'kubo', test: true, disposable: false, bin, rpc: create })
  const repo = node.repo
  const { cid } = await node.api.add('kept')
  await stop(node)
  await node.start()
  assert.equal((await bytes(node.api.cat(cid))).toString(), 'kept')
  const pins = []
  for await (const pin of node.api.pin.ls({ paths: cid })) pins.push(pin.type)
  assert.deepEqual(pins, ['recursive'])
  await stop(node)
  assert.ok(existsSync(repo))
  assert.ok(!existsSync(`${repo}/api`), 'the api file is left behind')
  await node.cleanup()
})

const slowest = Math.max(0, ...stops)
console.log(`stops: ${stops.length}, slowest ${slowest} ms (its limit is 1000 ms and its own polling 20 ms)`)
checks.end()
