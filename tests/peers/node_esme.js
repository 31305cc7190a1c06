// An ESME of another make (npm `smpp`): node tests/peers/node_esme.js '{"port": 2775, …}'
//
// Connects, binds, asks enquire_link, submits each of `messages` ({destination_addr, short_message,
// …}), waits for `deliveries` deliver_sm or data_sm, unbinds, and ends. Prints a line of JSON for
// everything it hears. `bind` is the command (bind_transceiver), `ca`, `cert` and `key` name PEM
// files: with `ca` it speaks TLS.
const fs = require('fs')
const smpp = require('smpp')

const asked = {
  bind: 'bind_transceiver', system_id: 'hermes', password: 'hermes', messages: [], deliveries: 0,
  ...JSON.parse(process.argv[2]),
}
const tell = (what) => console.log(JSON.stringify(what))
const readable = (value) => (Buffer.isBuffer(value) ? value.toString('latin1') : value)
let deliveries = 0
let responses = 0

const tls = asked.ca
  ? {
    tls: true,
    ca: fs.readFileSync(asked.ca),
    ...(asked.cert ? { cert: fs.readFileSync(asked.cert), key: fs.readFileSync(asked.key) } : {}),
  }
  : {}
const session = smpp.connect({ host: '127.0.0.1', port: asked.port, ...tls }, () => {
  session[asked.bind]({ system_id: asked.system_id, password: asked.password }, (bound) => {
    tell({ bound: bound.command_status, smsc: bound.system_id })
    if (bound.command_status) return
    session.enquire_link((answer) => tell({ alive: answer.command_status }))
    for (const message of asked.messages) {
      session.submit_sm({ registered_delivery: 1, ...message }, (answer) => {
        responses++
        tell({ id: answer.message_id, status: answer.command_status })
        finish()
      })
    }
    finish()
  })
})

function finish() {
  if (responses < asked.messages.length || deliveries < asked.deliveries) return
  responses = -1
  session.unbind((answer) => {
    tell({ unbound: answer.command_status })
    session.close()
  })
}

function delivered(pdu) {
  const content = pdu.short_message || {}
  tell({
    command: pdu.command,
    esm_class: pdu.esm_class,
    text: readable(content.message),
    udh: content.udh && content.udh.map((element) => element.toString('hex')),
    payload: pdu.message_payload && readable(pdu.message_payload.message),
    receipted: pdu.receipted_message_id,
    state: pdu.message_state,
    reference: pdu.user_message_reference,
    sar: pdu.sar_total_segments && [
      pdu.sar_msg_ref_num, pdu.sar_total_segments, pdu.sar_segment_seqnum,
    ],
    from: pdu.source_addr,
    to: pdu.destination_addr,
  })
  session.send(pdu.response())
  deliveries++
  finish()
}

session.on('deliver_sm', delivered)
session.on('data_sm', delivered)
session.on('enquire_link', (pdu) => session.send(pdu.response()))
session.on('error', (error) => {
  tell({ error: error.code || String(error) })
  process.exitCode = 1
})
