// What a page knows from its address, how it says what went wrong, and that it is done.
window.given = JSON.parse(decodeURIComponent(location.hash.slice(1)))
const say = (where, what) => fetch(where, { method: 'POST', body: JSON.stringify(what) })
window.addEventListener('error', (event) => say('/wrong', String(event.message)))
window.addEventListener('unhandledrejection', (event) => say('/wrong', String(event.reason)))
window.done = () => say('/done', null)

window.made = function (client, call) {
  const { type, properties, traits } = call
  if (type === 'identify') return client.identify(call.userId, traits)
  if (type === 'track') return client.track(call.event, properties)
  if (type === 'page') return client.page(call.category, call.name, properties)
  if (type === 'screen') return client.screen(call.name, properties)
  if (type === 'group') return client.group(call.groupId, traits)
  return client.alias(call.userId, call.previousId)
}
