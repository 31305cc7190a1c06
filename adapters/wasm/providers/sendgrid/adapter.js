// Twilio SendGrid, Mail Send v3. README.md tells how to set it up, codes.json what its words mean.
import {
  accepted, adapter, getConfig, header, log, lookup, parse, refused, secret, sendHttp, unanswered,
  unclear,
} from 'hermes-adapter';
import codes from './codes.json' with { type: 'json' };

const fieldOf = lookup(codes.fields);
const statusOf = lookup(codes.statuses);
const levelOf = lookup(codes.levels);
const classOf = lookup(codes.bounce_classifications);
const bounceOf = lookup(codes.bounce_types);
const dropOf = lookup(codes.drop_reasons);
const optOutOf = lookup(codes.opt_outs);
const droppedOptOutOf = lookup(codes.drops_of_opt_outs);

const api = () =>
  getConfig('region') === 'eu' ? 'https://api.eu.sendgrid.com' : 'https://api.sendgrid.com';
const headers = { authorization: `Bearer ${secret('api_key')}` };

export const plugin = adapter({
  onConfigure(config) {
    if (!address(config.from).email.includes('@')) throw 'from has to be an e-mail address';
  },

  *onMessage({ to, from, content, category, reference, unsubscribe_url: link }) {
    const parts = [{ type: 'text/plain', value: content.text }];
    if (content.html) parts.push({ type: 'text/html', value: content.html });
    const answer = yield* sendHttp({
      method: 'POST',
      url: `${api()}/v3/mail/send`,
      headers,
      json: {
        personalizations: [{ to: [{ email: to }], custom_args: { reference } }],
        from: address(from ?? getConfig('from')),
        subject: content.subject,
        content: parts.filter((part) => part.value),
        categories: [category],
        headers: link
          ? {
              'List-Unsubscribe': `<${link}>`,
              'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click',
            }
          : undefined,
      },
    });
    if (answer.error) return unanswered(answer.error);
    if (answer.status >= 300) return refusal(answer);
    if (answer.status !== 202) return unclear(answer);
    const id = header(answer, 'x-message-id');
    return accepted('accepted', { provider_ids: id ? [id] : [] });
  },

  onDeliveryReport({ body }) {
    const events = [parse(body, [])].flat();
    // Mail that others send through the account is reported, too: it has no reference.
    return { reports: events.filter((event) => event?.reference).map(report).filter(Boolean) };
  },

  *onHealthCheck() {
    const answer = yield* sendHttp({ method: 'GET', url: `${api()}/v3/scopes`, headers });
    if (answer.error) return { ok: false, detail: answer.error.message };
    if (answer.status !== 200)
      return { ok: false, detail: explained(answer) ?? `HTTP ${answer.status}` };
    return parse(answer.body).scopes?.includes('mail.send')
      ? { ok: true }
      : { ok: false, detail: 'the API key may not send mail' };
  },
});

/** SendGrid's errors have no codes: the field that is at fault says more than the status. */
function refusal(answer) {
  const field = parse(answer.body).errors?.find((error) => error.field)?.field;
  const known = fieldOf(field?.split('.').find((name) => fieldOf(name)));
  return refused(answer, known ?? statusOf(answer.status), { detail: explained(answer) });
}

const explained = (answer) =>
  parse(answer.body).errors?.map(({ message }) => message).join('; ') || undefined;

/** 'Example <a@example.com>' in SendGrid's parts. */
function address(text) {
  const named = /^(.*)<([^<>]*)>$/.exec(text.trim());
  if (!named) return { email: text.trim() };
  const name = named[1].trim().replace(/^"(.*)"$/, '$1');
  return { email: named[2].trim(), name: name || undefined };
}

function report(event) {
  const status = event.event;
  const base = {
    reference: event.reference,
    id: event.sg_event_id ?? `${event.sg_message_id}:${status}:${event.timestamp}`,
    provider_status: status,
    at: event.timestamp ? new Date(event.timestamp * 1000).toISOString() : undefined,
  };
  const optOut = optOutOf(status)?.meaning;
  if (optOut === 'complaint') return { ...base, level: 'delivered', final: false, opt_out: optOut };
  if (optOut) return { ...base, level: 'read', final: true, opt_out: optOut };
  const droppedFor = status === 'dropped' && droppedOptOutOf(event.reason);
  if (droppedFor)
    return {
      ...base,
      failure: { code: 'recipient_invalid', detail: event.reason },
      final: true,
      opt_out: droppedFor.meaning,
    };
  if (status === 'bounce' || status === 'blocked' || status === 'dropped')
    return { ...base, failure: failure(event), final: true };
  // Opened by a mail program that fetches everything, which no human has to have looked at.
  const level = event.sg_machine_open ? 'delivered' : levelOf(status)?.meaning;
  if (level) return { ...base, level, final: level === 'read' };
  log('warning', `an event that is not in the table: ${status}`);
}

/** What `dropped` (by SendGrid) or `bounce` (by the recipient's server) means. */
function failure({ event, reason, status, type, bounce_classification }) {
  const known = event === 'dropped'
    ? dropOf(reason)
    : classOf(bounce_classification) ?? bounceOf(event === 'blocked' ? 'blocked' : type);
  return {
    code: known?.meaning ?? 'provider_rejected',
    provider_code: status || bounce_classification || undefined,
    detail: reason || known?.words,
  };
}
