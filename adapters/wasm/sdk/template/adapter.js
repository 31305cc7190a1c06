// Example's API. README.md tells how to set it up, codes.json what its codes mean.
import {
  accepted, adapter, getConfig, log, lookup, parse, refused, secret, sendHttp, unanswered,
  unclear,
} from 'hermes-adapter';
import codes from './codes.json' with { type: 'json' };

const errorOf = lookup(codes.errors);
const levelOf = lookup(codes.levels);
const endOf = lookup(codes.ends);

const API = 'https://api.example.com/v1';
const headers = { authorization: `Bearer ${secret('api_key')}` };

export const plugin = adapter({
  // Hand one message to the provider, once.
  *onMessage({ to, from, content, reference }) {
    const answer = yield* sendHttp({
      method: 'POST',
      url: `${API}/messages`,
      headers,
      json: { to, from: from ?? getConfig('from'), text: content.text, client_ref: reference },
    });
    if (answer.error) return unanswered(answer.error);
    const said = parse(answer.body);
    if (answer.status >= 300)
      return refused(answer, errorOf(said.error), {
        provider_code: said.error, detail: said.message });
    return said.id ? accepted('accepted', { provider_ids: [said.id] }) : unclear(answer);
  },

  // Translate what the provider posted to the webhook; its signature has been checked.
  onDeliveryReport({ body }) {
    const { id, client_ref: reference, status, error, time } = parse(body);
    const report = { reference, id: `${id}:${status}`, provider_status: status, at: time };
    const level = levelOf(status)?.meaning;
    if (level) return { reports: [{ ...report, level, final: level === 'delivered' }] };
    const why = errorOf(error) ?? endOf(status);
    if (why) {
      const failure = { code: why.meaning, provider_code: error, detail: why.words };
      return { reports: [{ ...report, failure, final: true }] };
    }
    log('warning', `a status that is not in the table: ${status}`);
    return {};
  },

  // Does the account work? Asked now and then; nothing may be sent.
  *onHealthCheck() {
    const answer = yield* sendHttp({ method: 'GET', url: `${API}/account`, headers });
    if (answer.error) return { ok: false, detail: answer.error.message };
    if (answer.status === 200) return { ok: true };
    return { ok: false, detail: parse(answer.body).message ?? `HTTP ${answer.status}` };
  },
});
