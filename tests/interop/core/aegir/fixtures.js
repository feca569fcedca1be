// The bytes of a fixture, or an error that names it as aegir's own loader does.

import { readFileSync } from 'node:fs'
import resolve from './resolve.js'

export default function loadFixture (path, module) {
  try {
    return readFileSync(resolve(path))
  } catch {
    throw new Error(`Could not load ${module}/${path}`)
  }
}
