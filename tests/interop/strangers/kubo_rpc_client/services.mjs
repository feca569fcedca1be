// Pinning services: in the config, and what they keep.

import { randomBytes } from 'node:crypto'
import { all, assert, rejected } from '../checks.mjs'

export async function services ({ checks, ipfs, settings }) {
  const { endpoint, key } = settings.service
  const service = 'nest'
  const remote = ipfs.pin.remote
  await checks.check('pin remote service: add, ls with and without counts, and what is refused', async () => {
    await remote.service.add(service, { endpoint: `${endpoint}/`, key })
    await remote.service.add('broken', { endpoint: 'http://127.0.0.1:1', key })
    await rejected(remote.service.add(service, { endpoint, key }), /^service already present$/)
    const listed = await remote.service.ls()
    assert.deepEqual(listed.map((one) => [one.service, String(one.endpoint), one.stat]), [
      ['broken', 'http://127.0.0.1:1/', undefined], [service, endpoint, undefined]
    ])
    const counted = await remote.service.ls({ stat: true })
    assert.deepEqual(counted.map((one) => one.stat), [
      { status: 'invalid' },
      { status: 'valid', pinCount: { queued: 0, pinning: 0, pinned: 0, failed: 0 } }
    ])
    await remote.service.rm('broken')
    assert.deepEqual((await remote.service.ls()).map((one) => one.service), [service])
  })
  await checks.check('pin remote: add waits for the service, or not; ls filters', async () => {
    const { cid } = await ipfs.add(randomBytes(600_000))
    const pin = await remote.add(cid, { service, name: 'one' })
    assert.deepEqual([String(pin.cid), pin.name, pin.status], [String(cid), 'one', 'pinned'])
    const second = (await ipfs.add(randomBytes(50))).cid
    const quick = await remote.add(second, { service, name: 'two', background: true })
    assert.match(quick.status, /^(queued|pinning|pinned)$/)
    const names = async (query) => (await all(remote.ls({ service, ...query }))).map((one) => one.name)
    while ((await names({})).length < 2) await new Promise((resolve) => setTimeout(resolve, 20))
    assert.deepEqual(await names({}), ['two', 'one'])
    assert.deepEqual(await names({ cid: [cid] }), ['one'])
    assert.deepEqual(await names({ cid: [cid, second], status: ['queued', 'pinned'] }), ['two', 'one'])
    assert.deepEqual(await names({ name: 'two' }), ['two'])
    assert.deepEqual(await names({ status: ['failed'] }), [])
    await rejected(all(remote.ls({ service: 'nobody' })), /^service not known$/)
  })
  await checks.check('pin remote: rm removes one, and several only when that is meant', async () => {
    await rejected(remote.rm({ service }), /multiple remote pins are matching this query/)
    await remote.rm({ service, name: 'one' })
    assert.deepEqual((await all(remote.ls({ service }))).map((one) => one.name), ['two'])
    await remote.rmAll({ service })
    assert.deepEqual(await all(remote.ls({ service })), [])
    await remote.service.rm(service)
  })
}
