// @segment/analytics-node makes the calls it is given.
import { Analytics } from '@segment/analytics-node'
import { finish, given } from './given.mjs'

const timestamp = new Date(given.when)
const errors = []
const client = new Analytics({ writeKey: given.key, host: given.url, flushInterval: 50, httpRequestTimeout: 1000 })
client.on('error', (error) => errors.push(String(error.reason ?? error.code)))
if (given.refused) {
  client.track({ userId: 'user-1', event: 'Refused', timestamp })
  await client.flush()
}
for (const { type, ...call } of given.calls) client[type]({ ...call, timestamp })
await client.closeAndFlush({ timeout: 30000 })
finish(errors)
