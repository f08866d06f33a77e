// The steps of tests/upstream/test_referees.py, driven by the official Node SDK; prints what each one gave as JSON.
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [folder, baseUrl, secret] = process.argv.slice(2)
const require = createRequire(pathToFileURL(join(folder, 'index.js')))
const load = (name) => require(`@chatbotkit/sdk/${name}`)
const { ChatBotKitClient } = load('client')
const users = load('partner/user/v1')
const sessions = load('partner/user/session/v1')
const contacts = load('contact/v1')
const conversations = load('conversation/v1')

const options = { secret, baseUrl, retries: 0 }
const client = new ChatBotKitClient(options)
const said = {}

async function refusal(promise) {
  try {
    await promise
    return null
  } catch (error) {
    return error.code
  }
}

const ada = 'ada@example.com'
const fingerprint = 'f'.repeat(64)
const hello = { messages: [{ type: 'user', text: 'Hello' }] }

said.nobody = (await users.listPartnerUsers(client, { email: ada })).items
const user = await users.createPartnerUser(client, { email: ada, name: 'Ada', meta: { plan: 'pro', seats: 3 } })
said.taken = await refusal(users.createPartnerUser(client, { email: ada, name: 'Ada', meta: { plan: 'pro', seats: 3 } }))
said.found = (await users.listPartnerUsers(client, { email: ada })).items.map((item) => item.id === user.id)
await users.updatePartnerUser(client, user.id, { meta: { $update: { plan: 'free' } } })
said.merged = (await users.fetchPartnerUser(client, user.id)).meta
await users.updatePartnerUser(client, user.id, { name: '', meta: { plan: 'team' } })
said.replaced = (await users.fetchPartnerUser(client, user.id)).meta
said.unknownField = await refusal(users.updatePartnerUser(client, user.id, { colour: 'red' }))
const contact = await contacts.createContact(client, { fingerprint, email: ada, verifiedAt: 5, meta: { email: ada } })
said.fingerprint = await refusal(contacts.createContact(client, { fingerprint, email: ada, verifiedAt: 5, meta: { email: ada } }))
said.ensured = (await contacts.ensureContact(client, { fingerprint, email: 'eve@example.com' })).id === contact.id
said.byMeta = (await contacts.listContacts(client, { meta: { email: ada }, order: 'asc' })).items.map((item) => item.email)
await contacts.updateContact(client, contact.id, { name: 'Ada', meta: { $update: { image: 'x' } } })
said.contact = (await contacts.fetchContact(client, contact.id)).meta
const asAda = new ChatBotKitClient({ ...options, runAsUserId: user.id })
said.own = (await contacts.listContacts(asAda, {})).items
said.foreign = await refusal(contacts.fetchContact(asAda, contact.id))
said.text = (await conversations.completeConversation(asAda, hello)).text.includes('Hello')
said.types = []
for await (const event of conversations.completeConversation(client, { ...hello, contactId: contact.id }).stream()) {
  if (!said.types.includes(event.type)) said.types.push(event.type)
}
said.option = await refusal(conversations.completeConversation(client, { ...hello, temperature: 1 }))
said.gone = await refusal(conversations.completeConversation(client, { ...hello, contactId: 'gone' }))
await contacts.deleteContact(client, contact.id, {})
said.deleted = await refusal(contacts.fetchContact(client, contact.id))
await users.deletePartnerUser(client, user.id, {})
said.unknown = await refusal(users.fetchPartnerUser(client, user.id))

const eve = await users.createPartnerUser(client, { email: 'eve@example.com' })
const { token } = await sessions.createPartnerUserSession(client, eve.id, { config: { allowedRoutes: ['/v1/contact/*'] } })
const browser = new ChatBotKitClient({ ...options, secret: token })
said.browser = [await refusal(contacts.listContacts(browser, {})), await refusal(conversations.listConversations(browser, {}))]

console.log(JSON.stringify(said))
