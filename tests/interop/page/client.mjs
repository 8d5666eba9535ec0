// The client of npm's bittorrent-tracker: announces, scrapes and stops, and prints each answer as a line of JSON.
//   client.mjs URL INFO_HASH_HEX    from a folder with node_modules
import { register } from 'node:module'
import { pathToFileURL } from 'node:url'

// It wants to see WebRTC, which in Node is native code, and makes no use of it as long as nobody is to be connected to.
const module = text => 'data:text/javascript,' + encodeURIComponent(text)
const none = module(['PeerConnection', 'SessionDescription', 'IceCandidate'].map(n => `export class RTC${n} {}`).join('\n'))
register(module(`export const resolve = (name, context, next) =>
  name === 'webrtc-polyfill' ? { url: ${JSON.stringify(none)}, shortCircuit: true } : next(name, context)`))

const path = `${process.cwd()}/node_modules/bittorrent-tracker/client.js`
const { default: Client } = await import(pathToFileURL(path))

const [announce, infoHash] = process.argv.slice(2)
const print = (kind, more) => console.log(JSON.stringify({ kind, ...more }))
const client = new Client({ infoHash, peerId: '2d5457303030302d303132333435363738396162', announce, port: 6881 })
client.on('error', e => { print('error', { message: e.message }); process.exit(1) })
client.on('warning', e => { print('warning', { message: e.message }); client.destroy() })
client.on('scrape', r => { print('scrape', { infoHash: r.infoHash, complete: r.complete, incomplete: r.incomplete, downloaded: r.downloaded }); client.stop() })
let updates = 0
client.on('update', r => {
  print('update', { interval: r.interval, complete: r.complete, incomplete: r.incomplete })
  updates += 1
  if (updates === 1) client.complete({ left: 0, numwant: 0 })
  else if (updates === 2) client.scrape()
  else client.destroy()
})
client.start({ left: 7, numwant: 0 })
