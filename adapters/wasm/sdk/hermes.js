// What an adapter imports as 'hermes-adapter'. hermes.d.ts has the types, README.md the way.
import host from 'hermes:adapter/host@1.0.0';

export const log = (level, message) => host.log(level, String(message));
export const emitMetric = (name, value = 1) => host.emitMetric(name, value);
export const storeGet = (key) => host.storeGet(key) ?? undefined;
export const storeSet = (key, value) => host.storeSet(key, String(value));

// A component has no clock and no randomness: what looks like them would end it without a word, or
// be the same in every instance.
const missing = (what, instead) => () => {
  throw new Error(`an adapter has no ${what}; ${instead}`);
};
const noClock = missing('clock', 'message.not_after and reports have their times');
Date.now = noClock;
globalThis.Date = new Proxy(Date, {
  apply: noClock,
  construct: (date, args) => (args.length ? Reflect.construct(date, args) : noClock()),
});
globalThis.performance = { now: noClock };
Math.random = missing('randomness', 'message.id and message.attempt name the attempt');

let configuration = {};

/** A value of the configuration; a secret reads as the placeholder that the host fills in. */
export const getConfig = (key) => configuration[key];

/** Where the host puts a secret into a header or a URL. In a body it has to be getConfig's. */
export const secret = (key) => `{{secret:${key}}}`;
export const basicAuth = (user, password) => `{{basic:${user}:${password}}}`;
export const token = (name) => `{{token:${name}}}`;

/**
 * Have the host make a request: `const answer = yield* sendHttp({ method, url, … })`.
 *
 * `headers` may be an object. `form` and `json` make the body and its content type. The answer has
 * `status`, `headers`, `body`, or only `error`; `header(answer, name)` and `parse(answer.body)`
 * read it.
 */
export function* sendHttp({ form, json, headers = {}, ...request }) {
  request.headers = Array.isArray(headers) ? [...headers] : Object.entries(headers);
  if (form !== undefined) {
    request[ENCODED] = encodeForm(form);
    request.headers.push(FORM);
  } else if (json !== undefined) {
    request.body = JSON.stringify(json);
    request.headers.push(JSON_TYPE);
  }
  return yield request;
}

const FORM = ['content-type', 'application/x-www-form-urlencoded'];
const JSON_TYPE = ['content-type', 'application/json'];
const ENCODED = Symbol('a body without a character that JSON would write in another way');

export const header = (answer, name) =>
  answer.headers?.find(([key]) => key === name.toLowerCase())?.[1];

/** JSON that may be none: what it holds, or `otherwise`. */
export function parse(text, otherwise = {}) {
  try {
    return JSON.parse(text) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** A Retry-After in seconds, if the answer has one; a date is left to the host. */
export function retryAfter(answer) {
  const seconds = Number(header(answer, 'retry-after'));
  return seconds > 0 && seconds <= 86400 ? seconds : undefined;
}

// encodeURIComponent leaves ! ' ( ) * as they are, and half a surrogate pair is an error to it.
export const encode = (text) =>
  plain(text)
    .replaceAll('!', '%21').replaceAll("'", '%27').replaceAll('(', '%28')
    .replaceAll(')', '%29').replaceAll('*', '%2A');

/**
 * `a=1&b=2` from an object or a list of pairs; null and undefined are left out, lists repeat.
 *
 * What encodeURIComponent leaves, no reader of a form minds: to look for it would take longer than
 * the encoding itself.
 */
export function encodeForm(form) {
  let text = '';
  const add = (key, value) => {
    if (Array.isArray(value)) for (const each of value) add(key, each);
    else if (value !== undefined && value !== null)
      text += `${text && '&'}${plain(key)}=${plain(value)}`;
  };
  if (Array.isArray(form)) for (const [key, value] of form) add(key, value);
  else for (const key in form) add(key, form[key]);
  return text;
}

const plain = (value) => encodeURIComponent(String(value).toWellFormed());

/** The object that `a=1&b=2` stands for; of a key that comes twice the last counts. */
export const decodeForm = (text) =>
  Object.fromEntries(
    text.split('&').filter(Boolean).map((pair) => {
      const [key, ...value] = pair.split('=');
      return [decode(key), decode(value.join('='))];
    }));

function decode(text) {
  const spaced = text.replaceAll('+', ' ');
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced; // not what any provider sends: shown as it came
  }
}

// --- results ---------------------------------------------------------------------------------

/** The provider has it: `accepted('sent', { provider_ids: ['…'] })`. */
export const accepted = (level, more = {}) => ({ ok: true, level, ...more });

/** The provider has not: `failed('recipient_invalid', { provider_code: '21211', detail: '…' })`. */
export const failed = (code, more = {}) => ({ ok: false, code, ...more });

const KINDS = {
  dns: 'provider_unavailable',
  connect: 'provider_unavailable',
  tls: 'configuration',
  forbidden: 'configuration',
  secret: 'configuration',
  limit: 'internal',
};

/** What a request without an answer means. The host knows when the provider may have it. */
export const unanswered = ({ kind, message, maybe_sent }) =>
  failed(maybe_sent ? 'outcome_unknown' : KINDS[kind] ?? 'provider_error',
    { provider_code: kind, detail: message });

/**
 * A success that does not look like one of the provider's: another may have answered in its place,
 * so that nobody knows whether the message was sent.
 */
export const unclear = (answer) =>
  failed('outcome_unknown', {
    provider_code: String(answer.status),
    detail: "the answer is not of the provider's form",
  });

/**
 * A table `{ meaning: { code: words } }` as a function of the code: `{ meaning, words }`, or
 * undefined for a code that it does not list.
 */
export function lookup(table) {
  const rows = new Map(
    Object.entries(table).flatMap(([meaning, codes]) =>
      Object.entries(codes).map(([code, words]) => [code, { meaning, words }])));
  return (code) => rows.get(String(code));
}

const STATUSES = {
  401: 'configuration',
  403: 'configuration',
  404: 'configuration',
  408: 'provider_error',
  413: 'content_rejected',
  429: 'provider_throttled',
  502: 'provider_unavailable',
  503: 'provider_unavailable',
  504: 'outcome_unknown', // whoever stands between us may have passed it on
};

/**
 * An answer that is no success. It means what `known` says, which comes from `lookup`, else what
 * its HTTP status usually means. The provider's own code and words go with it, if it has any.
 */
export const refused = (answer, known, { provider_code, detail, ...more } = {}) =>
  failed(
    known?.meaning ??
      STATUSES[answer.status] ??
      (answer.status >= 500 ? 'provider_error' : 'provider_rejected'),
    {
      provider_code: String(provider_code ?? answer.status),
      detail: detail ?? known?.words,
      retry_after: retryAfter(answer),
      ...more,
    });

// --- the component ---------------------------------------------------------------------------

/**
 * The component of an adapter: `export const plugin = adapter({ *onMessage(message) {…}, … })`.
 *
 * `onMessage`, `onDeliveryReport` and `onHealthCheck` may be generators, which use
 * `yield* sendHttp(…)`, or plain functions. What they return is the result. `onConfigure(config)`
 * throws a text when a value cannot work.
 */
export function adapter({ onConfigure, onMessage, onDeliveryReport, onHealthCheck }) {
  let waiting;

  const answer = ({ done, value }) =>
    done ? `{"done":${JSON.stringify(value ?? null)}}` : `{"sendHttp":${asked(value)}}`;

  // Quoting takes as long as encoding: what is known to need none is put in as it stands.
  const asked = (request) => {
    const text = JSON.stringify(request);
    const body = request[ENCODED];
    return body === undefined ? text : `${text.slice(0, -1)},"body":"${body}"}`;
  };

  const begin = (result) => {
    waiting = undefined;
    return typeof result?.next === 'function' ? advance(result) : answer({ done: true, value: result });
  };

  const advance = (generator, input) => {
    const step = generator.next(input);
    waiting = step.done ? undefined : generator;
    return answer(step);
  };

  // What is not caught ends the component, whose last words are all that its author will see.
  const heard = (run) => (input) => {
    try {
      return run(input);
    } catch (error) {
      host.log('error', `${error} ${error?.stack ?? ''}`.trim());
      throw error;
    }
  };

  return {
    onConfigure(config) {
      configuration = JSON.parse(config);
      try {
        onConfigure?.(configuration);
      } catch (problem) {
        throw typeof problem === 'string' ? problem : String(problem?.message ?? problem);
      }
    },
    onMessage: heard((message) => begin(onMessage(JSON.parse(message)))),
    onDeliveryReport: heard((webhook) =>
      begin(onDeliveryReport?.(JSON.parse(webhook)) ?? { reports: [], inbound: [] })),
    onHealthCheck: heard(() => begin(onHealthCheck?.() ?? { ok: true })),
    onHttpResponse: heard((response) => advance(waiting, JSON.parse(response))),
  };
}
