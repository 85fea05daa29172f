// Miso's client for browsers in Node, told as JSON in the first argument. It asks for a window with
// an address, a document and a store of the session; all else is Node's own.
globalThis.window = globalThis
globalThis.location = { href: 'https://shop.example/mugs?utm_source=mail', search: '?utm_source=mail' }
globalThis.document = { title: 'Shop', referrer: '' }
const kept = new Map()
globalThis.sessionStorage = {
  getItem: (name) => kept.get(name) ?? null,
  setItem: (name, value) => kept.set(name, value),
}

const Client = require('@miso.ai/client-sdk')
const { ask } = require('./miso.js')

ask(Client, JSON.parse(process.argv[2])).then((answers) => console.log(JSON.stringify(answers)))
