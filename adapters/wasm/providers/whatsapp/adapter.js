// WhatsApp Business Platform, Cloud API. README.md tells how to set it up, codes.json what its
// codes mean.
import {
  accepted, adapter, getConfig, log, lookup, parse, refused, secret, sendHttp, unanswered, unclear,
} from 'hermes-adapter';
import codes from './codes.json' with { type: 'json' };

const errorOf = lookup(codes.errors);
const levelOf = lookup(codes.levels);

const number = () =>
  `https://graph.facebook.com/${getConfig('api_version')}/${getConfig('phone_number_id')}`;
const headers = { authorization: `Bearer ${secret('access_token')}` };

export const plugin = adapter({
  *onMessage({ to, content, category, reference }) {
    const answer = yield* sendHttp({
      method: 'POST',
      url: `${number()}/messages`,
      headers,
      json: {
        messaging_product: 'whatsapp',
        recipient_type: 'individual',
        to,
        ...(content.template ? template(content.template, category) : text(content)),
        biz_opaque_callback_data: reference,
      },
    });
    if (answer.error) return unanswered(answer.error);
    const said = parse(answer.body);
    if (answer.status >= 300) {
      const error = said.error ?? {};
      return refused(answer, known(error.code), {
        provider_code: error.code, detail: error.error_data?.details ?? error.message });
    }
    const id = said.messages?.[0]?.id;
    return id ? accepted('accepted', { provider_ids: [id] }) : unclear(answer);
  },

  onDeliveryReport({ body }) {
    const values = (parse(body).entry ?? [])
      .flatMap((entry) => entry.changes ?? [])
      .filter(({ field }) => field === 'messages')
      .map(({ value }) => value);
    for (const { code, title } of values.flatMap((value) => value.errors ?? []))
      log('warning', `the account has a problem: ${code} ${title}`);
    return {
      reports: values.flatMap((value) => (value.statuses ?? []).flatMap(report)),
      inbound: values.flatMap((value) =>
        (value.messages ?? []).flatMap((message) => inbound(message, value.metadata))),
    };
  },

  *onHealthCheck() {
    const answer = yield* sendHttp({
      method: 'GET', url: `${number()}?fields=verified_name,quality_rating`, headers });
    if (answer.error) return { ok: false, detail: answer.error.message };
    if (answer.status === 200) return { ok: true };
    return { ok: false, detail: parse(answer.body).error?.message ?? `HTTP ${answer.status}` };
  },
});

const text = ({ text }) => ({ type: 'text', text: { body: text, preview_url: false } });

function template({ name, language, parameters }, category) {
  const values = parameters.map((value) => ({ type: 'text', text: value }));
  const components = values.length ? [{ type: 'body', parameters: values }] : [];
  if (category === 'otp' && values.length && getConfig('otp_button'))
    components.push({ type: 'button', sub_type: 'url', index: '0', parameters: [values[0]] });
  return { type: 'template', template: { name, language: { code: language }, components } };
}

/** 200 to 299 all say that a permission is missing. */
const known = (code) => errorOf(code >= 200 && code < 300 ? 200 : code);

/** Statuses come in any order, more than once, and for days. */
function report({ id, status, timestamp, biz_opaque_callback_data: reference, errors = [] }) {
  if (!reference) return []; // sent by others through the same number
  const base = { reference, id: `${id}:${status}`, provider_status: status, at: time(timestamp) };
  if (status === 'failed') {
    const { code, title, error_data } = errors[0] ?? {};
    const why = known(code);
    return [{
      ...base,
      failure: {
        code: why?.meaning ?? 'provider_rejected',
        provider_code: code === undefined ? undefined : String(code),
        detail: error_data?.details ?? title ?? why?.words,
      },
      final: true,
    }];
  }
  const level = levelOf(status)?.meaning;
  if (level) return [{ ...base, level, final: level === 'read' }];
  log('warning', `a status that is not in the table: ${status}`);
  return [];
}

const BODIES = {
  text: ({ text }) => text.body,
  button: ({ button }) => button.text,
  interactive: ({ interactive }) => (interactive.button_reply ?? interactive.list_reply)?.title,
  reaction: ({ reaction }) => reaction.emoji,
  location: ({ location }) => `${location.latitude},${location.longitude}`,
};

function inbound(message, metadata) {
  const { id, from, type, timestamp } = message;
  if (!from || type === 'system' || type === 'unsupported') return [];
  const body = BODIES[type]?.(message) ?? message[type]?.caption ?? `[${type}]`;
  const to = plus(metadata.display_phone_number);
  return [{ id, from: plus(from), to, text: body, at: time(timestamp) }];
}

const plus = (digits) => `+${digits.replace(/[^0-9]/g, '')}`;
const time = (seconds) => (seconds ? new Date(seconds * 1000).toISOString() : undefined);
