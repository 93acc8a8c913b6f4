// posthog-node makes the calls it is given, as far as it has them.
import { PostHog } from 'posthog-node'
import { finish, given } from './given.mjs'

const timestamp = new Date(given.when)
const errors = []
const client = new PostHog(given.key, {
  host: given.url, flushAt: 100, flushInterval: 60000, requestTimeout: 1000, fetchRetryDelay: 200, disableGeoip: false,
})
client.on('error', (error) => errors.push(String(error)))
if (given.refused) {
  client.capture({ distinctId: 'user-1', event: 'Refused', timestamp })
  await client.flush().catch((error) => errors.push(String(error)))
}
for (const call of given.calls) {
  const { type, userId: distinctId, properties } = call
  if (type === 'identify') client.capture({ distinctId, event: '$set', properties: { $set: call.traits }, timestamp })
  else if (type === 'page') client.capture({ distinctId, event: '$pageview', properties: { ...properties, name: call.name, category: call.category }, timestamp })
  else if (type === 'screen') client.capture({ distinctId, event: '$screen', properties: { ...properties, $screen_name: call.name }, timestamp })
  else if (type === 'group') client.groupIdentify({ groupType: 'company', groupKey: call.groupId, properties: call.traits })
  else if (type === 'alias') client.alias({ distinctId: call.previousId, alias: distinctId })
  else if (distinctId) client.capture({ distinctId, event: call.event, properties, timestamp })
  else client.capture({ distinctId: call.anonymousId, event: call.event, properties: { ...properties, $process_person_profile: false }, timestamp })
}
await client.shutdown(30000)
finish(errors)
