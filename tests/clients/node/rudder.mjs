// @rudderstack/rudder-sdk-node makes the calls it is given.
import { createRequire } from 'node:module'
import { finish, given } from './given.mjs'

const Analytics = createRequire(import.meta.url)('@rudderstack/rudder-sdk-node')
const originalTimestamp = new Date(given.when)
const errors = []
const client = new (Analytics.default ?? Analytics)(given.key, {
  dataPlaneUrl: given.url, flushInterval: 50, timeout: 1000, axiosRetryConfig: { shouldResetTimeout: true }, logLevel: 'silent',
  errorHandler: (error) => errors.push(String(error)),
})
const flushed = () => client.flush().catch((error) => errors.push(String(error.message)))
if (given.refused) {
  client.track({ userId: 'user-1', event: 'Refused', originalTimestamp })
  await flushed()
}
for (const { type, ...call } of given.calls) client[type]({ ...call, originalTimestamp })
await flushed()
finish(errors)
