// Adding, reading, blocks and DAGs.

import { randomBytes } from 'node:crypto'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { all, assert, bytes, rejected } from '../checks.mjs'
import { files as filesOfTar } from '../tar.mjs'

export async function add ({ checks, ipfs, known, inputs, globSource }) {
  await checks.check('add: a text, and the same with each option that changes its CID', async () => {
    const { hello } = known
    const cid = async (options) => (await ipfs.add(hello.text, options)).cid.toString()
    assert.equal(await cid(), hello.v0)
    assert.equal(await cid({ cidVersion: 1 }), hello.v1)
    assert.equal(await cid({ hashAlg: 'blake3', hash: 'blake3' }), hello.blake3)
    assert.equal(await cid({ onlyHash: true }), hello.v0)
    assert.equal(await cid({ inline: true }), hello.inline)
    assert.equal((await ipfs.add(known.worlds.text, { trickle: true })).cid.toString(), known.worlds.trickle)
    assert.equal((await ipfs.add(new Uint8Array(0))).cid.toString(), known.empty_file)
  })
  await checks.check('add: a file in a wrapping folder', async () => {
    const added = await all(ipfs.addAll([{ path: 'hello.txt', content: known.hello.text }], { wrapWithDirectory: true }))
    assert.deepEqual(added.map((one) => [one.path, one.cid.toString()]),
      [['hello.txt', known.hello.v0], ['', known.hello.wrapped]])
  })
  await checks.check('add: files larger than a chunk', async () => {
    const two = readFileSync(join(inputs, known.two_chunks.file))
    assert.equal((await ipfs.add(two)).cid.toString(), known.two_chunks.v0)
    const large = readFileSync(join(inputs, known.two_large_chunks.file))
    const options = { cidVersion: 1, rawLeaves: true, chunker: 'size-1048576' }
    assert.equal((await ipfs.add(large, options)).cid.toString(), known.two_large_chunks.v1_2025)
  })
  await checks.check('add: a folder from disk, in each shape of its CID', async () => {
    const root = async (options) => {
      const source = globSource(join(inputs, known.planets.file), '**/*')
      const added = await all(ipfs.addAll(source, { wrapWithDirectory: true, ...options }))
      return added.at(-1).cid.toString()
    }
    assert.equal(await root({}), known.planets.v0)
    assert.equal(await root({ rawLeaves: true }), known.planets.raw_leaves)
    assert.equal(await root({ cidVersion: 1 }), known.planets.v1)
  })
  await checks.check('add: progress is told chunk by chunk, and ends at the file\'s length', async () => {
    const told = []
    // A stream, so that its length is not known beforehand: then the daemon's own progress counts.
    const content = (async function * () { yield Buffer.alloc(known.zs.bytes, 'z') })()
    const added = await ipfs.add({ path: 'f', content }, { progress: (bytes, path) => told.push([bytes, path]) })
    assert.deepEqual(told, [[262144, 'f'], [524288, 'f'], [600000, 'f']])
    assert.equal(added.cid.toString(), known.zs.v0)
    assert.equal(added.size, known.zs.tsize)
  })
  await checks.check('add: two hundred files in one request, answered while the upload runs', async () => {
    let sent = 0
    let sentAtFirstAnswer
    const source = (async function * () {
      for (sent = 0; sent < 200; sent++) {
        yield { path: `many/${sent}`, content: randomBytes(20_000) }
        if (sentAtFirstAnswer === undefined) await new Promise((resolve) => setTimeout(resolve, 10))
      }
    })()
    const paths = []
    for await (const one of ipfs.addAll(source, { pin: false })) {
      sentAtFirstAnswer ??= sent
      paths.push(one.path)
    }
    assert.equal(paths.length, 201)
    assert.ok(sentAtFirstAnswer < 200, `the first answer came after ${sentAtFirstAnswer} files`)
  })
  await checks.check('add: mode and time are kept when they are asked for', async () => {
    const { cid } = await ipfs.add({ path: 'f', content: 'x' }, { mode: 0o640, mtime: { secs: 1604320482, nsecs: 0 } })
    const stat = await ipfs.files.stat(`/ipfs/${cid}`)
    assert.deepEqual([stat.mode, stat.mtime.secs], [0o640, 1604320482])
  })
}

export async function read ({ checks, ipfs, known, inputs, treeCid, globSource }) {
  const { hello, two_chunks: two, planets, absent } = known
  await checks.check('cat: whole, and every kind of range', async () => {
    const content = readFileSync(join(inputs, two.file))
    assert.deepEqual(await bytes(ipfs.cat(two.v0)), content)
    const ranges = [[0, 1], [262143, 2], [262144, 1], [100, 200_000], [262140, 1000]]
    for (const [offset, length] of ranges) {
      const part = await bytes(ipfs.cat(two.v0, { offset, length }))
      assert.deepEqual(part, content.subarray(offset, offset + length), `${offset}+${length}`)
    }
    assert.deepEqual(await bytes(ipfs.cat(two.v0, { offset: 262100 })), content.subarray(262100))
    assert.equal((await bytes(ipfs.cat(two.v0, { offset: 10_000_000 }))).length, 0)
    await rejected(bytes(ipfs.cat(two.v0, { offset: -1 })), /cannot specify negative offset/)
  })
  await checks.check('cat: a path below a folder, a v1 CID, and what cannot be read', async () => {
    assert.equal((await bytes(ipfs.cat(`/ipfs/${planets.v0}/mars.txt`))).toString(), 'Hello Mars!\n')
    assert.equal((await bytes(ipfs.cat(hello.v1))).toString(), hello.text)
    await rejected(bytes(ipfs.cat(planets.v0)), /this dag node is a directory/)
    await rejected(bytes(ipfs.cat(`${planets.v0}/pluto.txt`)), /no link named "pluto.txt"/)
    await rejected(bytes(ipfs.cat(absent, { offline: true })), /not found|could not find/)
  })
  await checks.check('add and get: a tree with names of many kinds comes back byte for byte', async () => {
    const source = globSource(join(inputs, known.tree.file), '**/*', { hidden: true })
    const added = await all(ipfs.addAll(source, { wrapWithDirectory: true }))
    assert.equal(added.at(-1).cid.toString(), treeCid)
    const found = filesOfTar(await bytes(ipfs.get(treeCid)))
    const root = join(inputs, known.tree.file)
    const want = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    for (const entry of want) {
      const path = join(entry.parentPath, entry.name)
      const name = `${treeCid}/${path.slice(root.length + 1)}`
      assert.ok(found.has(name), `${name} is missing`)
      assert.deepEqual(found.get(name), readFileSync(path), name)
    }
    assert.equal(found.size, want.length)
    assert.ok(want.length >= 20, 'the tree is worth it')
  })
  await checks.check('ls: names, sizes, kinds and CIDs', async () => {
    const entries = await all(ipfs.ls(planets.v0))
    assert.deepEqual(entries.map(({ name, size, type, path }) => ({ name, size, type, path })), [
      { name: 'mars.txt', size: 12, type: 'file', path: `${planets.v0}/mars.txt` },
      { name: 'venus.txt', size: 13, type: 'file', path: `${planets.v0}/venus.txt` }
    ])
    assert.equal((await bytes(ipfs.cat(entries[1].cid))).toString(), 'Hello Venus!\n')
    const file = await all(ipfs.ls(hello.v0))
    assert.deepEqual(file.map((one) => one.cid.toString()), [hello.v0])
  })
  await checks.check('refs and resolve', async () => {
    const refs = (await all(ipfs.refs(planets.v0, { recursive: true }))).map((one) => one.ref)
    assert.equal(refs.length, 2)
    const edges = await all(ipfs.refs(planets.v0, { format: '<src>-><linkname>' }))
    assert.deepEqual(edges.map((one) => one.ref), [`${planets.v0}->mars.txt`, `${planets.v0}->venus.txt`])
    assert.equal(await ipfs.resolve(`/ipfs/${planets.v0}/mars.txt`), `/ipfs/${refs[0]}`)
    const local = (await all(ipfs.refs.local())).map((one) => one.ref)
    assert.ok(local.length > 10)
  })
}

export async function blocks ({ checks, ipfs, known, CID }) {
  const { raw_block: raw, hello } = known
  await checks.check('block: put, get, stat, and CIDs of each kind', async () => {
    const cid = await ipfs.block.put(Buffer.from(raw.text))
    assert.equal(cid.toString(), raw.v1)
    assert.equal(Buffer.from(await ipfs.block.get(cid)).toString(), raw.text)
    const stat = await ipfs.block.stat(cid)
    assert.deepEqual([stat.cid.toString(), stat.size], [raw.v1, raw.text.length])
    const v0 = await ipfs.block.put(await ipfs.block.get(CID.parse(hello.v0)), { format: 'v0' })
    assert.equal(v0.toString(), hello.v0)
    assert.equal((await ipfs.block.stat(v0)).size, hello.block_bytes)
    const blake = await ipfs.block.put(Buffer.from('foo\n'), { mhtype: 'blake3' })
    assert.equal(blake.toString(), 'bafkr4icj3sdq34o6p7lapfgoxtset5om3lsxll72uz5cjnrkzmb6aoo3si')
  })
  await checks.check('block: rm removes, refuses what is pinned, and says so of each', async () => {
    const mine = await ipfs.block.put(randomBytes(100))
    const [gone] = await all(ipfs.block.rm(mine))
    assert.equal(gone.cid.toString(), mine.toString())
    assert.equal(gone.error, undefined)
    const [refused] = await all(ipfs.block.rm(CID.parse(hello.v0)))
    assert.match(refused.error.message, /pinned/)
    const [absent] = await all(ipfs.block.rm(mine, { force: true }))
    assert.equal(absent?.error, undefined)
  })
}

export async function dags ({ checks, ipfs, known, CID }) {
  const { hello, planets, link_to_hello: linked } = known
  await checks.check('dag: put and get dag-cbor, and go through its links', async () => {
    const cid = await ipfs.dag.put({ a: CID.parse(hello.v0) })
    assert.equal(cid.toString(), linked.v1)
    const { value } = await ipfs.dag.get(cid)
    assert.equal(value.a.toString(), hello.v0)
    const deep = await ipfs.dag.put({ list: [1, { name: 'x', linked: cid }], big: 2 ** 40, text: 'ä' })
    assert.equal((await ipfs.dag.get(deep, { path: '/list/1/name' })).value, 'x')
    const resolved = await ipfs.dag.resolve(`/ipld/${deep}/list/1/linked/a`)
    assert.equal(resolved.cid.toString(), hello.v0)
    const inside = await ipfs.dag.resolve(`${deep}/list/1/name`)
    assert.equal(inside.cid.toString(), deep.toString())
    assert.match(inside.remainderPath, /list\/1\/name$/)
  })
  await checks.check('dag: put dag-json and dag-pb', async () => {
    const json = await ipfs.dag.put({ hello: 'world' }, { storeCodec: 'dag-json', hashAlg: 'sha2-512' })
    assert.deepEqual((await ipfs.dag.get(json)).value, { hello: 'world' })
    assert.equal(json.code, 0x0129)
    assert.equal(json.multihash.code, 0x13)
    const pb = await ipfs.dag.put({ Data: Buffer.from([8, 1]), Links: [] }, { storeCodec: 'dag-pb', version: 1 })
    assert.equal(pb.toV0().toString(), known.empty_directory)
  })
  await checks.check('dag: export and import a CAR file, with and without pins', async () => {
    const car = await bytes(ipfs.dag.export(CID.parse(planets.v0)))
    assert.ok(car.includes('Hello Mars!') && car.includes('Hello Venus!'))
    await ipfs.pin.rm(planets.v0)
    const [{ root }] = await all(ipfs.dag.import((async function * () { yield car })()))
    assert.deepEqual([root.cid.toString(), root.pinErrorMsg], [planets.v0, ''])
    assert.equal((await all(ipfs.pin.ls({ paths: planets.v0 })))[0].type, 'recursive')
    assert.deepEqual(await all(ipfs.dag.import((async function * () { yield car })(), { pinRoots: false })), [])
    await rejected(all(ipfs.dag.import((async function * () { yield Buffer.from('junk') })())), /^unexpected EOF$/)
    const cut = car.subarray(0, car.length - 3)
    await rejected(all(ipfs.dag.import((async function * () { yield cut })())), /^import failed/)
  })
}
