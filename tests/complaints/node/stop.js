// A server whose shutdown goes wrong in the way its argument names. The stop request is its own.
'use strict'
const { EventEmitter } = require('node:events')

class Pool extends EventEmitter {
  end () { throw new Error('pool closed') }
  async drain () { this.end() }
}

const pool = new Pool()
const kept = setInterval(() => {}, 60_000)

process.on('SIGTERM', () => {
  clearInterval(kept)
  console.log('stopping')
  switch (process.argv[2]) {
    case 'rejection': // a promise that nobody looks at; by default that ends the process
    case 'warned':
      pool.drain()
      break
    case 'exception':
      pool.end()
      break
    case 'logged':
      try { pool.end() } catch (problem) { console.error(problem) }
      break
    case 'listeners':
      for (let number = 0; number < 11; number++) pool.on('end', () => {})
      break
  }
})
process.kill(process.pid, 'SIGTERM')
