// The protocol of lines.py, for node: one JSON object a line, both ways; see there.

import { createInterface } from 'node:readline'

export function say (answer) {
  process.stdout.write(JSON.stringify(answer) + '\n')
}

// Answers requests with the functions of `actions`, which take the request, until the input ends.
export async function serve (actions) {
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line)
    Promise.resolve()
      .then(async () => await actions[request.do](request))
      .then(ok => say({ n: request.n, ok: ok ?? null }))
      .catch(error => say({ n: request.n, error: `${error.name}: ${error.message}` }))
  }
}
