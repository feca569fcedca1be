// Where a file of the suite lies: its package lacks the fixtures, which come from an earlier
// version of it (`fixtures` beside this package's folder; `setup.sh` unpacks them).

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(fileURLToPath(new URL('.', import.meta.url)), '..', 'fixtures')

export default function resolve (path) {
  return join(root, path)
}
