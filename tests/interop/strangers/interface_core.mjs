// Runs interface-ipfs-core with ipfs-http-client against daemons of our binary, and compares with
// what current Kubo passes.
//
//     HOLDFAST_MODULES=FOLDER node --import ./from.mjs interface_core.mjs SETTINGS
//
// SETTINGS is a JSON object: `bin`, `kubo` (path of interface-core-kubo.json), `scratch` (folder for
// repos), `groups` (names; all when absent). A test that Kubo passes must pass here, unless it stands
// in `interface_core_listed.json` with the reason.

import { readFileSync } from 'node:fs'
import * as suites from 'interface-ipfs-core'
import Mocha from 'mocha'
import { Factory } from './interface_core_factory.mjs'

const settings = JSON.parse(process.argv[2])
const kubo = JSON.parse(readFileSync(settings.kubo))
const { listed, skipped } = JSON.parse(readFileSync(new URL('interface_core_listed.json', import.meta.url)))
const factory = new Factory(settings.bin, settings.scratch)

// `pin.ls` names a part of a part of the suite, `block` a whole part.
function suiteOf (group) {
  return group.split('.').reduce((found, name) => found[name], suites)
}

function outcomeOf (group) {
  const mocha = new Mocha({ timeout: 60_000, reporter: class {} })
  mocha.suite.emit('pre-require', globalThis, '', mocha)
  suiteOf(group)(factory, { skip: skipped.map(({ title, why }) => ({ name: title, reason: why })) })
  const outcome = { passed: [], failed: new Map() }
  return new Promise((resolve) => {
    const runner = mocha.run(() => {
      mocha.dispose()
      resolve(outcome)
    })
    runner.on('pass', (test) => outcome.passed.push(test.fullTitle()))
    runner.on('fail', (test, error) => outcome.failed.set(test.fullTitle(), error))
  })
}

// Titles repeat within a group, so they are counted.
function count (titles) {
  const counts = new Map()
  for (const title of titles) counts.set(title, (counts.get(title) ?? 0) + 1)
  return counts
}

let passed = 0
let beyond = 0
const failures = []
const notes = []
for (const group of settings.groups ?? Object.keys(kubo)) {
  const { passed: ours, failed } = await outcomeOf(group)
  const counts = count(ours)
  const reasons = new Map((listed[group] ?? []).map(({ title, why }) => [title, why]))
  const wanted = count(kubo[group].pass)
  let good = 0
  for (const [title, times] of wanted) {
    const got = Math.min(times, counts.get(title) ?? 0)
    good += got
    if (got < times && !reasons.has(title)) {
      const error = failed.get(title) ?? [...failed].find(([name]) => name.includes('hook'))?.[1]
      const why = error === undefined ? 'it did not run' : String(error.stack ?? error).split('\n').slice(0, 4).join('\n          ')
      failures.push(`FAILED  ${group}: ${title}: ${why}`)
    } else if (got === times && reasons.has(title) && !reasons.get(title).startsWith('a race')) {
      notes.push(`passes though it is listed: ${group}: ${title}`)
    }
  }
  for (const title of reasons.keys()) {
    if (!wanted.has(title)) failures.push(`FAILED  ${group}: listed, and no test that Kubo passes: ${title}`)
  }
  const more = ours.filter((title) => !wanted.has(title)).length
  passed += good
  beyond += more
  console.log(`${group}: ${good} of the ${kubo[group].pass.length} that Kubo passes, ${more} that it does not`)
}
for (const line of [...notes, ...failures]) console.log(line)
await factory.clean()
const listedTimes = Object.values(listed).flat().length
console.log(`interface-ipfs-core 0.158.1: ${passed} passed, ${failures.length} failed, ${listedTimes} listed; ` +
  `${beyond} more pass that Kubo fails; ${factory.spawned} daemons, ${factory.killed} killed`)
process.exit(failures.length === 0 && passed > 0 && factory.killed === 0 ? 0 : 1)
