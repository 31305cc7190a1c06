// An SMSC of another make (npm `smpp`): node smsc.js
//
// Prints its port, then a line of JSON for every submit_sm and enquire_link. What the text begins with chooses what
// happens: "early" sends the receipt before the response, "twice" sends it two times, "padded"
// writes nothing but the text of appendix B, "undelivered" says UNDELIV. It echoes no reference.
const smpp = require('smpp')

let numbers = 0

const server = smpp.createServer((session) => {
  session.on('error', () => {})
  session.on('bind_transceiver', (pdu) => {
    const status = pdu.password === 'hermes' ? smpp.ESME_ROK : smpp.ESME_RINVPASWD
    session.send(pdu.response({ command_status: status, system_id: 'node' }))
  })
  session.on('enquire_link', (pdu) => {
    console.log(JSON.stringify({ enquired: true }))
    session.send(pdu.response())
  })
  session.on('unbind', (pdu) => {
    session.send(pdu.response())
    session.close()
  })
  session.on('submit_sm', (pdu) => {
    const id = `node-${++numbers}`
    const text = pdu.short_message.message
    console.log(JSON.stringify({
      id,
      text,
      udh: pdu.short_message.udh && pdu.short_message.udh.map((element) => element.toString('hex')),
      coding: pdu.data_coding,
      to: pdu.destination_addr,
      from: [pdu.source_addr_ton, pdu.source_addr_npi, pdu.source_addr],
      reference: pdu.user_message_reference,
    }))
    const respond = () => session.send(pdu.response({ message_id: id }))
    const receipt = (state) => session.deliver_sm({
      esm_class: smpp.ESM_CLASS.MC_DELIVERY_RECEIPT,
      source_addr: pdu.destination_addr,
      destination_addr: pdu.source_addr,
      short_message: `id:${id} sub:001 dlvrd:001 submit date:2601010000 done date:2601010001 ` +
        `stat:${state} err:000 text:${String(text).slice(0, 20)}`,
    })
    const state = String(text).startsWith('undelivered') ? 'UNDELIV' : 'DELIVRD'
    if (String(text).startsWith('early')) {
      receipt(state)
      setTimeout(respond, 50)
      return
    }
    respond()
    receipt(state)
    if (String(text).startsWith('twice')) receipt(state)
  })
})

server.listen(0, '127.0.0.1', () => console.log(server.address().port))
