// What a shop's server does with Segment's library for Node: told as JSON in the first argument.
const { Analytics } = require('@segment/analytics-node')

const { host, key, products, flushAt, user, visitor } = JSON.parse(process.argv[2])
const analytics = new Analytics({ writeKey: key, host, flushAt, flushInterval: 100 })
analytics.on('error', (error) => console.error(JSON.stringify(error)))

for (const product of products) {
  analytics.track({
    anonymousId: visitor,
    event: 'Product Viewed',
    properties: { product_id: product },
  })
}
analytics.page({ anonymousId: visitor, name: 'Home' })
analytics.identify({ anonymousId: visitor, userId: user, traits: { name: 'Ann' } })
analytics.closeAndFlush()
