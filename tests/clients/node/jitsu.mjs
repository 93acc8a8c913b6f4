// @jitsu/js makes the calls it is given. It stamps its calls itself and speaks of one person at a time.
import { jitsuAnalytics } from '@jitsu/js'
import { finish, given } from './given.mjs'

const errors = []
const client = jitsuAnalytics({
  host: given.url, writeKey: `${given.key}:secret`, s2s: given.s2s ?? false, fetchTimeoutMs: 1000,
  errorPolicy: (message) => errors.push(message),
})
if (given.refused) await client.track('Refused', {})
for (const call of given.calls) {
  if (call.type === 'identify') await client.identify(call.userId, call.traits)
  else if (call.type === 'track') await client.track(call.event, call.properties)
  else if (call.type === 'page') await client.page(call.name, { category: call.category, ...call.properties })
  else if (call.type === 'group') await client.group(call.groupId, call.traits)
  else throw new Error(`Jitsu has no ${call.type}`)
}
finish(errors)
