// What a page or a server asks of Miso's client: a few calls at once, each told as
// [group, name, payload, options]. Used by miso.html and by miso.cjs.

function told(error) {
  // A call of a bulk is rejected with an object of the client's own.
  const { status, status_code, data, body, message } = error
  return { status: status ?? status_code, body: data ?? body, message }
}

async function ask(Client, { key, host, visitor, calls }) {
  const miso = new Client({ apiKey: key, apiHost: host })
  Object.assign(miso.context, visitor)
  const answers = calls.map(([group, name, payload, options]) =>
    miso.api[group][name](payload, options).then(
      (answer) => ({ status: 200, body: answer ?? null }),
      (error) => told(error),
    ),
  )
  return Promise.all(answers)
}

if (typeof module !== 'undefined') module.exports = { ask }
