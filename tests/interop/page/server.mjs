// The tracker of npm's bittorrent-tracker, over HTTP and UDP on ports that the system picks; prints them as a line of JSON.
//   server.mjs HOST    from a folder with node_modules
import { pathToFileURL } from 'node:url'

const path = `${process.cwd()}/node_modules/bittorrent-tracker/server.js`
const { default: Server } = await import(pathToFileURL(path))

const host = process.argv[2]
const server = new Server({ http: true, udp: true, ws: false, stats: false })
server.on('error', e => { console.error(e); process.exit(1) })
server.on('warning', e => console.error(e.message))
const hosts = host.includes(':') ? { http: host, udp: '127.0.0.1', udp6: host } : { http: host, udp: host, udp6: '::1' }
server.listen(0, hosts, () => {
  const udp = host.includes(':') ? server.udp6 : server.udp4
  console.log(JSON.stringify({ http: server.http.address().port, udp: udp.address().port }))
})
