// What the test wants: url, key, when, refused (make one more call first, on its own), calls.
import { readFileSync } from 'node:fs'

export const given = JSON.parse(readFileSync(0, 'utf8'))

export function finish(errors) {
  console.log(JSON.stringify(errors))
  process.exit(0)
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
