// An SMSC of another make (npm `smpp`): node tests/peers/node_smsc.js [--option value]…
//
//   --port 0              where to listen; 0: any free port
//   --system-id hermes    the account
//   --password hermes
//   --cert, --key FILE    PEM: TLS instead of plain TCP
//   --client-ca FILE      PEM: demand a client certificate that this CA signed
//   --receipt-delay 0     milliseconds between response and receipt
//   --response-delay 0    milliseconds before the response
//   --throttle 0          refuse the first so many submissions with ESME_RTHROTTLED
//   --ids node            node-1, or `hex`: hexadecimal here and decimal in the receipt
//   --quiet               no line for every submission
//
// It prints its port, then a line of JSON for everything that happens: bind, submit, enquire, unbind,
// receipt (with the status it was answered with), mo.
//
// What a text begins with chooses what happens to it: "early" sends the receipt before the
// response, "twice" sends it two times, "undelivered" says UNDELIV, "refused" is answered with
// ESME_RINVDSTADR, "silent" gets neither response nor receipt, "data" gets its receipt as data_sm,
// "payload" as message_payload, "tlv" as TLVs only. Nothing echoes user_message_reference.
//
// A line of JSON on standard input, {"source", "destination", "text"}, is delivered to the bind
// that came last; {"kill": true} cuts every connection.
const fs = require('fs')
const readline = require('readline')
const smpp = require('smpp')

const options = {
  port: '0', 'system-id': 'hermes', password: 'hermes', cert: null, key: null, 'client-ca': null,
  'receipt-delay': '0', 'response-delay': '0', throttle: '0', ids: 'node', quiet: false,
}
for (let at = 2; at < process.argv.length; at++) {
  const name = process.argv[at].replace(/^--/, '')
  if (!(name in options)) {
    console.error(`no such option: ${process.argv[at]}`)
    process.exit(2)
  }
  options[name] = typeof options[name] === 'boolean' ? true : process.argv[++at]
}

const tell = (what) => console.log(JSON.stringify(what))
const sessions = []
const hexId = 0x5cda7830000000n
let numbers = 0
let toThrottle = Number(options.throttle)

function later(milliseconds, action) {
  if (Number(milliseconds)) setTimeout(action, Number(milliseconds))
  else action()
}

function idOf(number) {
  if (options.ids !== 'hex') return [`node-${number}`, `node-${number}`]
  const id = hexId + BigInt(number)
  return [id.toString(16).toUpperCase(), id.toString(10)]
}

function receiptFor(pdu, text, id) {
  const state = text.startsWith('undelivered') ? 'UNDELIV' : 'DELIVRD'
  const words = `id:${id} sub:001 dlvrd:001 submit date:2601010000 done date:2601010001 ` +
    `stat:${state} err:000 text:${text.slice(0, 20)}`
  const receipt = {
    esm_class: smpp.ESM_CLASS.MC_DELIVERY_RECEIPT,
    source_addr: pdu.destination_addr,
    destination_addr: pdu.source_addr,
  }
  const tlvs = {
    receipted_message_id: id,
    message_state: smpp.MESSAGE_STATE[state === 'DELIVRD' ? 'DELIVERED' : 'UNDELIVERABLE'],
  }
  if (text.startsWith('data')) return ['data_sm', { ...receipt, ...tlvs }]
  if (text.startsWith('payload')) return ['deliver_sm', { ...receipt, message_payload: words }]
  if (text.startsWith('tlv')) return ['deliver_sm', { ...receipt, ...tlvs, short_message: '' }]
  return ['deliver_sm', { ...receipt, short_message: words }]
}

function onSubmit(session, pdu) {
  const content = pdu.short_message && pdu.short_message.message
  const payload = pdu.message_payload && pdu.message_payload.message
  const text = String(content && content.length ? content : payload || '')
  if (toThrottle > 0) {
    toThrottle--
    tell({ throttled: true, text })
    session.send(pdu.response({ command_status: smpp.ESME_RTHROTTLED }))
    return
  }
  const [id, idInReceipt] = idOf(++numbers)
  if (!options.quiet) {
    tell({
      id,
      text,
      udh: pdu.short_message.udh && pdu.short_message.udh.map((element) => element.toString('hex')),
      coding: pdu.data_coding,
      to: pdu.destination_addr,
      from: [pdu.source_addr_ton, pdu.source_addr_npi, pdu.source_addr],
      reference: pdu.user_message_reference,
    })
  }
  if (text.startsWith('silent')) return
  if (text.startsWith('refused')) {
    session.send(pdu.response({ command_status: smpp.ESME_RINVDSTADR }))
    return
  }
  const respond = () => session.send(pdu.response({ message_id: id }))
  const report = () => {
    if (pdu.registered_delivery & 3) {
      const [command, fields] = receiptFor(pdu, text, idInReceipt)
      session[command](fields, (answer) => {
        if (!options.quiet) tell({ receipt: id, status: answer.command_status })
      })
    }
  }
  if (text.startsWith('early')) {
    report()
    setTimeout(respond, 50)
    return
  }
  later(options['response-delay'], () => {
    respond()
    later(options['receipt-delay'], report)
    if (text.startsWith('twice')) later(options['receipt-delay'], report)
  })
}

function onSession(session) {
  const bind = (pdu) => {
    let status = smpp.ESME_ROK
    if (pdu.system_id !== options['system-id']) status = smpp.ESME_RINVSYSID
    else if (pdu.password !== options.password) status = smpp.ESME_RINVPASWD
    tell({ bind: pdu.command, status })
    session.send(pdu.response({ command_status: status, system_id: 'node' }))
    if (status === smpp.ESME_ROK) sessions.push(session)
  }
  session.on('error', () => {})
  session.on('close', () => {
    const at = sessions.indexOf(session)
    if (at >= 0) sessions.splice(at, 1)
  })
  session.on('bind_transceiver', bind)
  session.on('bind_transmitter', bind)
  session.on('bind_receiver', bind)
  session.on('enquire_link', (pdu) => {
    tell({ enquired: true })
    session.send(pdu.response())
  })
  session.on('unbind', (pdu) => {
    tell({ unbound: true })
    session.send(pdu.response())
    session.close()
  })
  session.on('submit_sm', (pdu) => onSubmit(session, pdu))
}

const tls = options.cert
  ? {
    cert: fs.readFileSync(options.cert),
    key: fs.readFileSync(options.key),
    ...(options['client-ca']
      ? { ca: fs.readFileSync(options['client-ca']), requestCert: true, rejectUnauthorized: true }
      : {}),
  }
  : {}
const server = smpp.createServer(tls, onSession)
server.on('tlsClientError', (error) => tell({ refused: error.code || String(error) }))
server.listen(Number(options.port), '127.0.0.1', () => console.log(server.address().port))

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const asked = JSON.parse(line)
  if (asked.kill) {
    for (const session of [...server.sessions]) session.destroy()
    return
  }
  sessions[sessions.length - 1].deliver_sm({
    source_addr: asked.source,
    destination_addr: asked.destination,
    short_message: asked.text,
  }, (answer) => tell({ mo: asked.text, status: answer.command_status }))
})
