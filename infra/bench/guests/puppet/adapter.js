// A guest that does what it is told: its message's text is a script.
//   { "answers": […] }   what its exports return, one after another; a text as it is
//   { "do": "loop" }     one of the deeds below, before its first answer; a fault is logged …
//   { "silently": … }    … or not
//   { "host": [["get", "key"]] }   what it asks of the host
//   { "given": true }    it hears what it was given
// $HEARD in an answer stands for the list of what it heard, $TEXT for that as a string.
import host from 'hermes:adapter/host@1.0.0';

let answers = [];
const heard = [];

const DEEDS = {
  loop() { for (;;); },
  memory() { const all = []; for (;;) all.push(new Uint8Array(1 << 20)); },
  'one allocation': () => new Uint8Array(100_000_000).length,
  recursion: () => DEEDS.recursion() + 1,
  'nested JSON': () => JSON.parse('['.repeat(1e6)),
  expression: () => /^(a+)+$/.test('a'.repeat(40) + 'b'),
  throw() { throw new Error('a fault of its own'); },
  clock: () => Date.now(),
  file: () => std.open('/etc/passwd', 'r'),
  socket: () => fetch('https://example.com/'),
  'system module': () => import('node:fs'),
  'log flood'() { for (let i = 0; i < 1_000; i++) host.log('info', `line ${i}`); },
  'log of a megabyte': () => host.log('info', 'x'.repeat(1_000_000)),
  'log that breaks lines': () => host.log('loud', 'one\r\ntwo\u2028three\u0000four'),
  'metric flood'() { for (let i = 0; i < 1_000; i++) host.emitMetric('sent', i); },
  metrics() {
    for (const name of ['sent', 'Sent', 'a-b', '', 'x'.repeat(65), 'a b'])
      host.emitMetric(name, 1);
    for (const value of [NaN, Infinity, -Infinity, -1.5]) host.emitMetric('odd', value);
  },
  wide: () => { answers = ['"' + 'x'.repeat(3_000_000) + '"']; },
  '100 MB': () => { answers = ['x'.repeat(100_000_000)]; },
};

const next = () => {
  const answer = answers.shift();
  if (typeof answer !== 'string') return JSON.stringify(answer);
  if (answer.length > 1e6) return answer;
  const said = JSON.stringify(heard);
  return answer.replace('$HEARD', () => said).replace('$TEXT', () => JSON.stringify(said));
};

const HOST = {
  get: (key) => heard.push(host.storeGet(key) ?? null),
  set(key, value) {
    try { host.storeSet(key, value); heard.push('kept'); } catch (problem) {
      heard.push(String(problem.payload ?? problem.message ?? problem));
    }
  },
  config: (key) => heard.push(host.getConfig(key) ?? null),
  log: (level, line) => host.log(level, line),
};

const aloud = (deed) => {
  try {
    deed();
  } catch (error) {
    host.log('error', String(error));
    throw error;
  }
};

const begin = (text, given) => {
  const script = JSON.parse(text);
  answers = script.answers ?? [];
  heard.length = 0;
  for (const [what, ...args] of script.host ?? []) HOST[what](...args);
  if (script.given) heard.push(given);
  if (script.do) aloud(DEEDS[script.do]);
  if (script.silently) DEEDS[script.silently]();
  return next();
};

export const plugin = {
  onConfigure(text) {
    const { refuse, configure } = JSON.parse(text);
    if (refuse) throw refuse;
    if (configure) DEEDS[configure]();
  },
  onMessage(text) { const given = JSON.parse(text); return begin(given.content.text, given); },
  onDeliveryReport(text) { const given = JSON.parse(text); return begin(given.body, given); },
  onHealthCheck: () => begin(host.getConfig('health') ?? '{"answers":[{"done":{"ok":true}}]}'),
  onHttpResponse(text) { heard.push(JSON.parse(text)); return next(); },
};
