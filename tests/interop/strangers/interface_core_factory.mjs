// Daemons for the suite, in the shape of ipfsd-ctl's old factory: spawn() and clean().

import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { create } from 'ipfs-http-client'

const READY_MS_MAX = 30_000
const STOP_MS_MAX = 10_000

function isObject (value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

// `over` laid over `base`, object by object.
function merged (base, over) {
  const out = { ...base }
  for (const [key, value] of Object.entries(over ?? {})) {
    out[key] = isObject(value) && isObject(out[key]) ? merged(out[key], value) : value
  }
  return out
}

export class Factory {
  // Tests ask for it to know what the daemon takes: what Kubo takes.
  opts = { type: 'go' }
  spawned = 0
  killed = 0
  #running = []

  constructor (bin, scratch) {
    this.bin = bin
    this.scratch = scratch
    // When the run itself fails, nothing is left behind.
    process.on('exit', () => this.#running.forEach(({ subprocess }) => subprocess.kill('SIGKILL')))
  }

  // A fresh repo of the test profile, with the config that a test asks for, and a daemon on it.
  async spawn (options = {}) {
    const repo = mkdtempSync(join(this.scratch, 'core-'))
    const env = { ...process.env, IPFS_PATH: repo }
    await promisify(execFile)(this.bin, ['init', '--profile', 'test'], { env })
    const path = join(repo, 'config')
    const config = merged(JSON.parse(readFileSync(path)), options.ipfsOptions?.config)
    config.Addresses = { ...config.Addresses, API: '/ip4/127.0.0.1/tcp/0', Gateway: '/ip4/127.0.0.1/tcp/0' }
    config.Bootstrap = []
    writeFileSync(path, JSON.stringify(config))
    const child = spawn(this.bin, ['daemon', ...(options.args ?? [])], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.spawned++
    const daemon = { subprocess: child, repo, stop: async () => await this.#stop(daemon) }
    // From here on clean() ends it, whatever fails below.
    this.#running.push(daemon)
    const said = await this.#ready(child)
    // This client takes no multiaddr as text.
    const [, host, port] = said.match(/RPC API server listening on \/ip4\/([0-9.]+)\/tcp\/(\d+)/)
    daemon.api = create({ url: `http://${host}:${port}` })
    daemon.peer = daemon.api.peerId = await daemon.api.id()
    return daemon
  }

  async clean () {
    await Promise.all(this.#running.splice(0).map(async (daemon) => await this.#stop(daemon)))
  }

  #ready (child) {
    return new Promise((resolve, reject) => {
      let out = ''
      let err = ''
      const late = setTimeout(() => {
        child.kill('SIGKILL')
        reject(new Error(`the daemon was not ready in time: ${out}${err}`))
      }, READY_MS_MAX)
      child.stderr.on('data', (data) => { err = (err + data).slice(-4000) })
      child.stdout.on('data', (data) => {
        out += data
        if (out.includes('Daemon is ready')) {
          clearTimeout(late)
          resolve(out)
        }
      })
      child.on('exit', (code, signal) => {
        clearTimeout(late)
        reject(new Error(`the daemon ended with ${code ?? signal}: ${out}${err}`))
      })
    })
  }

  // SIGTERM, and SIGKILL (counted, and a failure) when that does not end it. Some tests stop it themselves.
  async #stop ({ subprocess: child, repo }) {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((resolve) => child.on('exit', resolve))
      child.kill('SIGTERM')
      const late = setTimeout(() => {
        this.killed++
        child.kill('SIGKILL')
      }, STOP_MS_MAX)
      await ended
      clearTimeout(late)
    }
    rmSync(repo, { recursive: true, force: true })
  }
}
