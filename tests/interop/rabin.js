// Rabin chunks as Kubo cuts them. The importer's own rabin uses another polynomial, so its cut
// points can never be Kubo's; this is a second implementation of the rule, in another language
// than the one under test, and the recorded answers of Kubo hold for both.

const POLYNOMIAL = 0x3DF305DFB2A805n
const DEGREE = 53n
const WINDOW = 16

function reduce (x) {
  while (x >> DEGREE !== 0n) x ^= POLYNOMIAL << BigInt(x.toString(2).length - 1 - Number(DEGREE))
  return x
}

// Digests have 53 bits: a high half of 21 bits and a low half of 32, because bit operations
// on numbers have 32.
const halves = (x) => [Number(x >> 32n), Number(x & 0xffffffffn) | 0]
const outHigh = new Int32Array(256)
const outLow = new Int32Array(256)
const modHigh = new Int32Array(256)
const modLow = new Int32Array(256)
for (let byte = 0; byte < 256; byte++) {
  let hash = BigInt(byte)
  for (let i = 1; i < WINDOW; i++) hash = reduce(hash << 8n);
  [outHigh[byte], outLow[byte]] = halves(hash);
  [modHigh[byte], modLow[byte]] = halves(reduce(BigInt(byte) << DEGREE))
}

function cut (data, start, min, mask, max) {
  const window = new Uint8Array(WINDOW)
  let high = 0
  let low = 0
  let at = 0
  const slide = (byte) => {
    const old = window[at]
    window[at] = byte
    at = (at + 1) % WINDOW
    high ^= outHigh[old]
    low ^= outLow[old]
    // The top 8 of the 53 bits leave, and come back through the table.
    const top = high >>> 13
    high = (((high & 0x1fff) << 8) | (low >>> 24)) ^ modHigh[top]
    low = ((low << 8) | byte) ^ modLow[top]
  }
  slide(1)
  for (let i = start + min - WINDOW; i < data.length; i++) {
    slide(data[i])
    const length = i + 1 - start
    if (length >= max || (length >= min && (low & mask) === 0)) return i + 1
  }
  return data.length
}

export function rabin (min, average, max) {
  const mask = (1 << Math.floor(Math.log2(average))) - 1
  return async function * (source) {
    const parts = []
    for await (const part of source) parts.push(part)
    const data = Buffer.concat(parts)
    if (data.length === 0) yield data // an empty file is one empty chunk
    for (let start = 0; start < data.length;) {
      const end = cut(data, start, min, mask, max)
      yield data.subarray(start, end)
      start = end
    }
  }
}
