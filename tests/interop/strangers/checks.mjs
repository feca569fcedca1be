// One line a check, all checks run, and a failing exit code when one of them failed.

import assert from 'node:assert/strict'

export { assert }

export class Checks {
  #who
  #passed = 0
  #failed = 0

  constructor (who) {
    this.#who = who
  }

  // Runs one check; a check that hangs for a minute has failed.
  async check (name, run) {
    let timer
    const late = new Promise((resolve, reject) => {
      timer = setTimeout(() => reject(new Error('no answer within a minute')), 60_000)
    })
    try {
      await Promise.race([run(), late])
      this.#passed++
      console.log(`ok      ${name}`)
    } catch (error) {
      this.#failed++
      const text = String(error.stack ?? error).split('\n').slice(0, 12).join('\n          ')
      console.log(`FAILED  ${name}: ${text}`)
    } finally {
      clearTimeout(timer)
    }
  }

  // Prints the totals and ends the process: 0 when everything passed.
  end () {
    console.log(`${this.#who}: ${this.#passed} passed, ${this.#failed} failed`)
    process.exit(this.#failed === 0 && this.#passed > 0 ? 0 : 1)
  }
}

// The error that `promise` is rejected with; it must match.
export async function rejected (promise, pattern) {
  const error = await promise.then(
    (value) => { throw new Error(`should have failed, and gave ${JSON.stringify(value)}`) },
    (error) => error
  )
  assert.match(String(error.message), pattern)
  return error
}

export async function all (source) {
  const out = []
  for await (const value of source) out.push(value)
  return out
}

export async function bytes (source) {
  return Buffer.concat(await all(source))
}
