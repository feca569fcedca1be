// Keys, names, config, statistics, logs, what is said of the node, cancellation, authorization.

import { randomBytes } from 'node:crypto'
import { all, assert, bytes, rejected } from '../checks.mjs'

export async function names ({ checks, ipfs, known }) {
  await checks.check('key: gen, list, rename, rm', async () => {
    const key = await ipfs.key.gen('first')
    assert.match(key.id, /^k51qzi5uqu5d/)
    const rsa = await ipfs.key.gen('second', { type: 'rsa', size: 2048 })
    assert.match(rsa.id, /^k2k4r8/)
    const renamed = await ipfs.key.rename('first', 'third')
    assert.deepEqual([renamed.was, renamed.now, renamed.id, renamed.overwrite], ['first', 'third', key.id, false])
    assert.deepEqual((await ipfs.key.list()).map((one) => one.name).sort(), ['second', 'self', 'third'])
    const removed = await ipfs.key.rm('second')
    assert.deepEqual([removed.name, removed.id], ['second', rsa.id])
    await rejected(ipfs.key.rm('self'), /self/)
    await rejected(ipfs.key.gen('third'), /already exists/)
  })
  await checks.check('name: publish offline, and resolve what was published', async () => {
    const value = `/ipfs/${known.hello.v0}`
    const { id } = (await ipfs.key.list()).find((one) => one.name === 'third')
    const published = await ipfs.name.publish(value, { key: 'third', allowOffline: true, resolve: false })
    assert.deepEqual([published.name, published.value], [id, value])
    assert.deepEqual(await all(ipfs.name.resolve(`/ipns/${id}`)), [value])
    assert.equal(await ipfs.resolve(`/ipns/${id}`), value)
    assert.equal((await bytes(ipfs.cat(`/ipns/${id}`))).toString(), known.hello.text)
    await ipfs.key.rm('third')
  })
}

export async function node ({ checks, ipfs, settings }) {
  await checks.check('config: get, set of each kind, and what is refused', async () => {
    const max = await ipfs.config.get('Datastore.StorageMax')
    await ipfs.config.set('Datastore.StorageMax', '7GB')
    assert.equal(await ipfs.config.get('Datastore.StorageMax'), '7GB')
    await ipfs.config.set('Datastore.StorageMax', max)
    await ipfs.config.set('Discovery.MDNS.Enabled', false)
    assert.equal(await ipfs.config.get('Discovery.MDNS.Enabled'), false)
    await ipfs.config.set('Peering.Peers', [])
    assert.deepEqual(await ipfs.config.get('Peering.Peers'), [])
    await rejected(ipfs.config.get('No.Key'), /No not found/)
    await rejected(ipfs.config.get('Identity.PrivKey'), /cannot show or change private key/)
    const whole = await ipfs.config.getAll()
    assert.equal(whole.Identity.PrivKey, undefined)
    assert.equal(whole.Datastore.StorageMax, max)
    const { original, updated } = await ipfs.config.profiles.apply('lowpower', { dryRun: true })
    assert.equal(typeof original, 'object')
    assert.notDeepEqual(original, updated)
    assert.deepEqual(await ipfs.config.getAll(), whole)
    await ipfs.config.replace({ ...whole, Peering: { Peers: [] } })
    assert.equal((await ipfs.config.getAll()).Identity.PeerID, whole.Identity.PeerID)
  })
  await checks.check('id, version, commands', async () => {
    const id = await ipfs.id()
    assert.equal(id.id.toString(), (await ipfs.config.get('Identity.PeerID')))
    assert.match(id.agentVersion, /holdfast/i)
    const version = await ipfs.version()
    assert.match(version.version, /^0\.44\./)
    assert.equal(version.repo ?? version['fs-repo'], '18')
    const commands = await ipfs.commands()
    const pin = commands.Subcommands.find((one) => one.Name === 'pin')
    assert.ok(pin.Subcommands.some((one) => one.Name === 'ls'))
  })
  await checks.check('bootstrap: add, list, rm', async () => {
    const peer = '/ip4/127.0.0.1/tcp/4999/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N'
    await ipfs.bootstrap.add(peer)
    assert.deepEqual((await ipfs.bootstrap.list()).Peers.map(String), [peer])
    await ipfs.bootstrap.rm(peer)
    assert.deepEqual((await ipfs.bootstrap.list()).Peers, [])
  })
  await checks.check('stats, diag', async () => {
    const repo = await ipfs.stats.repo()
    assert.deepEqual(repo.numObjects, (await ipfs.repo.stat()).numObjects)
    const sys = await ipfs.diag.sys()
    assert.equal(sys.runtime.numcpu ?? sys.runtime.NumCPU ?? sys.runtime.num_cpu, (await import('node:os')).cpus().length)
    const running = await ipfs.diag.cmds()
    assert.ok(running.some((one) => one.Command === 'diag/cmds' && one.Active))
  })
  await checks.check('log: ls, level, and a tail that says what happens', async () => {
    const names = await ipfs.log.ls()
    assert.ok(names.length > 0 || names.Strings?.length > 0 || names.strings?.length > 0)
    const { message } = await ipfs.log.level('all', 'debug')
    assert.match(message, /Changed log level/)
    const stop = new AbortController()
    const line = (async () => {
      for await (const one of ipfs.log.tail({ signal: stop.signal })) return one
    })()
    for (let i = 0; i < 20; i++) await ipfs.id()
    assert.equal(typeof await line, 'object')
    stop.abort()
    await ipfs.log.level('all', 'error')
  })
  await checks.check('what needs the network says that there is none', async () => {
    const peers = await ipfs.swarm.peers().catch((error) => error)
    if (!Array.isArray(peers)) assert.match(peers.message, /must be run in online mode/)
    await rejected(all(ipfs.routing.findProvs(settings.known.absent, { timeout: 5000 })), /online mode|not found|context/)
  })
}

export async function cancellation ({ checks, ipfs }) {
  await checks.check('cancel: reads, tails and uploads are let go, and the daemon serves on', async () => {
    const { cid } = await ipfs.add(randomBytes(30_000_000))
    const pinned = (await all(ipfs.pin.ls({ type: 'recursive' }))).length
    for (let i = 0; i < 10; i++) {
      const stop = new AbortController()
      await assert.rejects(async () => {
        for await (const chunk of ipfs.cat(cid, { signal: stop.signal })) {
          assert.ok(chunk.length > 0)
          stop.abort()
        }
      }, /abort/i)
      const tail = new AbortController()
      // Waited for from the start, so that no rejection is without a listener.
      const tailing = assert.rejects(all(ipfs.log.tail({ signal: tail.signal })), /abort/i)
      const upload = new AbortController()
      const uploading = assert.rejects(ipfs.add((async function * () {
        for (;;) {
          yield randomBytes(100_000)
          await new Promise((resolve) => setTimeout(resolve, 1))
        }
      })(), { signal: upload.signal }), /abort/i)
      await new Promise((resolve) => setTimeout(resolve, 20))
      tail.abort()
      upload.abort()
      await Promise.all([tailing, uploading])
    }
    assert.equal((await all(ipfs.pin.ls({ type: 'recursive' }))).length, pinned)
    assert.equal((await bytes(ipfs.cat(cid))).length, 30_000_000)
    // What was let go is not running still: bounded waiting, since the daemon learns of it by the connection's end.
    let active
    for (let i = 0; i < 100; i++) {
      active = (await ipfs.diag.cmds()).filter((one) => one.Active && one.Command !== 'diag/cmds')
      if (active.length === 0) break
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    assert.deepEqual(active, [])
  })
}

export async function authorization ({ checks, create, settings }) {
  const url = settings.auth_api
  const as = (value) => create({ url, headers: value === undefined ? {} : { authorization: value } })
  const basic = `Basic ${Buffer.from('bob:bob-secret').toString('base64')}`
  await checks.check('auth: a token opens what it may, and nothing opens without', async () => {
    const alice = as('Bearer alice-token')
    assert.equal((await alice.add('hello')).size, 13)
    assert.match((await as(basic).id()).agentVersion, /holdfast/i)
    assert.match((await as(basic).version()).version, /^0\.44\./)
    for (const nobody of [as(), as('Bearer wrong'), as('Bearer alice-toke'), as('Basic alice-token')]) {
      await rejected(nobody.id(), /Kubo RPC Access Denied/)
      await rejected(nobody.version(), /Kubo RPC Access Denied/)
    }
    await rejected(as(basic).add('hello'), /Kubo RPC Access Denied/)
    await rejected(all(as(basic).pin.ls()), /Kubo RPC Access Denied/)
    const shown = JSON.stringify(await alice.config.getAll())
    assert.ok(!shown.includes('alice-token') && !shown.includes('bob-secret'), 'secrets are shown')
  })
}
