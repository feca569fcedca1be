// Pins, files and the repo.

import { randomBytes } from 'node:crypto'
import { all, assert, bytes, rejected } from '../checks.mjs'

export async function pins ({ checks, ipfs, known }) {
  const { planets, absent } = known
  const types = async (path) => (await all(ipfs.pin.ls({ paths: path }))).map((pin) => pin.type)
  await checks.check('pin: add, ls of each kind, rm', async () => {
    const { cid } = await ipfs.add(randomBytes(600_000), { pin: false })
    await rejected(types(cid), /is not pinned/)
    assert.equal((await ipfs.pin.add(cid, { name: 'kept' })).toString(), cid.toString())
    assert.deepEqual(await types(cid), ['recursive'])
    const [leaf] = await all(ipfs.refs(cid.toString()))
    assert.deepEqual(await types(leaf.ref), [`indirect through ${cid}`])
    const named = await all(ipfs.pin.ls({ name: 'kept' }))
    assert.deepEqual(named.map((pin) => [pin.cid.toString(), pin.name]), [[cid.toString(), 'kept']])
    const listed = async (type) => (await all(ipfs.pin.ls({ type }))).map((pin) => pin.cid.toString())
    assert.ok((await listed('recursive')).includes(cid.toString()))
    assert.ok((await listed('indirect')).includes(leaf.ref))
    assert.ok((await listed('all')).includes(leaf.ref))
    assert.ok(!(await listed('direct')).includes(cid.toString()))
    assert.equal((await ipfs.pin.rm(cid)).toString(), cid.toString())
    await rejected(types(cid), /is not pinned/)
    await rejected(ipfs.pin.rm(cid), /^not pinned or pinned indirectly$/)
  })
  await checks.check('pin: direct pins, several at once, and what is absent', async () => {
    const one = (await ipfs.add(randomBytes(50), { pin: false })).cid
    const two = (await ipfs.add(randomBytes(50), { pin: false })).cid
    await ipfs.pin.add(one, { recursive: false })
    assert.deepEqual(await types(one), ['direct'])
    const added = await all(ipfs.pin.addAll([one, two]))
    assert.deepEqual(added.map(String).sort(), [one, two].map(String).sort())
    assert.deepEqual(await types(one), ['recursive'])
    await all(ipfs.pin.rmAll([one, two]))
    await rejected(ipfs.pin.add(absent, { offline: true, timeout: 5000 }), /pin: |not found/)
    await rejected(all(ipfs.pin.ls({ type: 'rubbish' })), /[Ii]nvalid type/)
  })
  await checks.check('repo: gc takes what nothing holds, and nothing else', async () => {
    const loose = (await ipfs.add(randomBytes(300), { pin: false })).cid.toString()
    const held = (await ipfs.add(randomBytes(300))).cid
    const gone = (await all(ipfs.repo.gc())).map((one) => one.cid.toString())
    // A collection speaks of blocks by their multihash, as CIDv1 of raw.
    assert.ok(gone.length > 0)
    assert.equal(new Set(gone).size, gone.length)
    await rejected(bytes(ipfs.cat(loose, { offline: true })), /not found|could not find/)
    assert.equal((await bytes(ipfs.cat(held))).length, 300)
    assert.equal((await bytes(ipfs.cat(`${planets.v0}/mars.txt`))).toString(), 'Hello Mars!\n')
  })
  await checks.check('repo: stat and version', async () => {
    const before = await ipfs.repo.stat()
    await ipfs.add(randomBytes(2_000_000))
    const after = await ipfs.repo.stat()
    assert.ok(after.numObjects >= before.numObjects + 8n, `${before.numObjects} ${after.numObjects}`)
    assert.ok(after.repoSize > before.repoSize)
    assert.ok(after.storageMax > 0n)
    assert.equal(after.version, 'fs-repo@18')
    assert.equal(await ipfs.repo.version(), '18')
  })
}

export async function files ({ checks, ipfs, known }) {
  const read = async (path, options) => (await bytes(ipfs.files.read(path, options))).toString()
  const names = async (path) => (await all(ipfs.files.ls(path))).map((entry) => entry.name)
  await checks.check('files: write, read in parts, overwrite, truncate, append', async () => {
    await ipfs.files.mkdir('/js/deep/er', { parents: true })
    await ipfs.files.write('/js/f', known.written.text, { create: true })
    const stat = await ipfs.files.stat('/js/f')
    assert.equal(stat.cid.toString(), known.written.trickle_leaf)
    assert.deepEqual([stat.size, stat.cumulativeSize, stat.blocks, stat.type], [4, 62, 1, 'file'])
    await ipfs.files.write('/js/f', 'XY', { offset: 1 })
    assert.equal(await read('/js/f'), 'dXYa')
    await ipfs.files.write('/js/f', '++', { offset: 4 })
    assert.equal(await read('/js/f', { offset: 2, length: 3 }), 'Ya++'.slice(0, 3))
    await ipfs.files.write('/js/f', 'z', { truncate: true })
    assert.equal(await read('/js/f'), 'z')
    await ipfs.files.write('/js/made/on/the/way', 'w', { create: true, parents: true })
    assert.equal(await read('/js/made/on/the/way'), 'w')
    const large = randomBytes(3_000_000)
    await ipfs.files.write('/js/large', large, { create: true })
    assert.deepEqual(await bytes(ipfs.files.read('/js/large')), large)
    await rejected(ipfs.files.write('/js/none', 'x'), /file does not exist/)
  })
  await checks.check('files: ls, cp from /ipfs, mv, rm', async () => {
    await ipfs.files.cp(`/ipfs/${known.planets.v0}`, '/js/planets')
    const entries = await all(ipfs.files.ls('/js/planets'))
    assert.deepEqual(entries.map(({ name, type, size }) => [name, type, size]),
      [['mars.txt', 'file', 12], ['venus.txt', 'file', 13]])
    assert.equal((await ipfs.files.stat('/js/planets')).cid.toString(), known.planets.v0)
    await ipfs.files.mv('/js/planets/mars.txt', '/js/red.txt')
    assert.deepEqual(await names('/js/planets'), ['venus.txt'])
    assert.equal(await read('/js/red.txt'), 'Hello Mars!\n')
    await rejected(ipfs.files.cp('/js/red.txt', '/js/f'), /already has entry by that name/)
    await rejected(ipfs.files.rm('/js/planets'), /is a directory, use -r/)
    await ipfs.files.rm('/js/planets', { recursive: true })
    await rejected(ipfs.files.stat('/js/planets'), /file does not exist/)
    await rejected(ipfs.files.mkdir('/js/deep'), /file already exists/)
  })
  await checks.check('files: flush, and a tree that is gone', async () => {
    const flushed = await ipfs.files.flush('/js')
    assert.equal(flushed.toString(), (await ipfs.files.stat('/js')).cid.toString())
    await ipfs.files.rm('/js', { recursive: true })
    assert.ok(!(await names('/')).includes('js'))
  })
}
