// Twilio Programmable Messaging. README.md tells how to set it up, codes.json what its codes mean.
import {
  accepted, adapter, basicAuth, decodeForm, failed, getConfig, log, lookup, parse, refused,
  sendHttp, unanswered, unclear,
} from 'hermes-adapter';
import codes from './codes.json' with { type: 'json' };

const errorOf = lookup(codes.errors);
const levelOf = lookup(codes.levels);
const endOf = lookup(codes.ends);

// Nothing follows these. `read` may follow `delivered` only where a message went out as RCS.
const FINAL = ['delivered', 'read'];

// A status callback that is not answered with 2xx is lost, unless its address asks for more:
// https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
const RETRIED = '#rc=5&rp=all';

const account = () => `https://api.twilio.com/2010-04-01/Accounts/${getConfig('account_sid')}`;
const authorization = basicAuth('account_sid', 'auth_token');

export const plugin = adapter({
  onConfigure(config) {
    if (!config.from && !config.messaging_service_sid)
      throw 'either from or messaging_service_sid is needed';
  },

  *onMessage({ to, from, content, callback_url }) {
    const service = getConfig('messaging_service_sid');
    const answer = yield* sendHttp({
      method: 'POST',
      url: `${account()}/Messages.json`,
      headers: { authorization },
      form: {
        To: to,
        From: from ?? (service ? undefined : getConfig('from')),
        MessagingServiceSid: service,
        Body: content.text,
        StatusCallback: callback_url + RETRIED,
      },
    });
    if (answer.error) return unanswered(answer.error);

    const said = parse(answer.body);
    if (answer.status >= 300)
      return refused(answer, errorOf(said.code), {
        provider_code: said.code, detail: said.message });
    const end = endOf(said.status);
    if (end) {
      const { code, ...more } = failure(end, said.error_code);
      return failed(code, more);
    }
    if (!said.sid) return unclear(answer);
    return accepted(levelOf(said.status)?.meaning ?? 'accepted', {
      provider_ids: [said.sid],
      segments: Number(said.num_segments) || undefined, // 0 until a messaging service has split it
    });
  },

  onDeliveryReport({ method, query, body }) {
    // Twilio can be told to report by GET.
    const form = method === 'GET' ? query : decodeForm(body);
    if (form.SmsStatus === 'received') {
      const { MessageSid: id, From: from, To: to, Body: text = '' } = form;
      return { inbound: [{ id, from, to, text }] };
    }

    const status = form.MessageStatus;
    const level = levelOf(status)?.meaning;
    const end = endOf(status);
    if (!level && !end) {
      log('warning', `a status that is not in the table: ${status}`);
      return {};
    }
    const id = `${form.MessageSid}:${status}`;
    const report = { reference: query.ref, id, provider_status: status };
    if (level) return { reports: [{ ...report, level, final: FINAL.includes(status) }] };
    return { reports: [{ ...report, failure: failure(end, form.ErrorCode), final: true }] };
  },

  *onHealthCheck() {
    const url = `${account()}.json`;
    const answer = yield* sendHttp({ method: 'GET', url, headers: { authorization } });
    if (answer.error) return { ok: false, detail: answer.error.message };
    const said = parse(answer.body);
    if (answer.status !== 200)
      return { ok: false, detail: said.message ?? `HTTP ${answer.status}` };
    const ok = said.status === 'active';
    return ok ? { ok } : { ok, detail: `the account is ${said.status}` };
  },
});

/** What a message's end means: by the error code that came with it, else by the status alone. */
function failure(end, code) {
  const known = errorOf(code) ?? end;
  const provider_code = code ? String(code) : undefined;
  return { code: known.meaning, provider_code, detail: known.words };
}
