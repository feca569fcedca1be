// The regular files of a tar archive: a map from path to bytes. Knows PAX paths, which long and
// non-ASCII names need, and nothing else of the extensions.

const BLOCK = 512

function text (block, at, length) {
  const field = block.subarray(at, at + length)
  const end = field.indexOf(0)
  return field.subarray(0, end === -1 ? length : end).toString()
}

function paxPath (record) {
  let at = 0
  while (at < record.length) {
    const space = record.indexOf(0x20, at)
    const length = Number(record.subarray(at, space))
    const [key, ...value] = record.subarray(space + 1, at + length - 1).toString().split('=')
    if (key === 'path') return value.join('=')
    at += length
  }
}

export function files (archive) {
  const found = new Map()
  let at = 0
  let longPath
  while (at + BLOCK <= archive.length && archive[at] !== 0) {
    const head = archive.subarray(at, at + BLOCK)
    const size = parseInt(text(head, 124, 12), 8)
    const kind = String.fromCharCode(head[156])
    const prefix = text(head, 257, 5) === 'ustar' ? text(head, 345, 155) : ''
    const name = longPath ?? (prefix === '' ? '' : `${prefix}/`) + text(head, 0, 100)
    const body = archive.subarray(at + BLOCK, at + BLOCK + size)
    longPath = kind === 'x' ? paxPath(body) : undefined
    if (kind === '0' || kind === '\0') found.set(name, body)
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK
  }
  return found
}
