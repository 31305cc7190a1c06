// Firebase Cloud Messaging, HTTP v1. README.md tells how to set it up, codes.json what its codes
// mean.
import {
  accepted, adapter, getConfig, lookup, parse, refused, sendHttp, token, unanswered, unclear,
} from 'hermes-adapter';
import codes from './codes.json' with { type: 'json' };

const errorOf = lookup(codes.errors);

const url = () => `https://fcm.googleapis.com/v1/projects/${getConfig('project_id')}/messages:send`;
const headers = { authorization: `Bearer ${token('firebase')}` };

export const plugin = adapter({
  *onMessage({ to, content, category }) {
    const answer = yield* sendHttp({
      method: 'POST',
      url: url(),
      headers,
      json: {
        message: {
          token: to,
          notification: { title: content.subject ?? undefined, body: content.text },
          data: content.data,
          android: { priority: category === 'marketing' ? 'NORMAL' : 'HIGH' },
        },
      },
    });
    if (answer.error) return unanswered(answer.error);
    const said = parse(answer.body);
    if (answer.status >= 300) return refusal(answer, said.error ?? {});
    if (!said.name) return unclear(answer);
    // FCM reports nothing afterwards.
    return accepted('sent', { provider_ids: [said.name] });
  },

  *onHealthCheck() {
    const answer = yield* sendHttp({
      method: 'POST',
      url: url(),
      headers,
      json: { validate_only: true, message: { topic: 'hermes-health-check' } },
    });
    if (answer.error) return { ok: false, detail: answer.error.message };
    if (answer.status === 200) return { ok: true };
    return { ok: false, detail: parse(answer.body).error?.message ?? `HTTP ${answer.status}` };
  },
});

function refusal(answer, error) {
  const details = error.details ?? [];
  const fcm = details.find((detail) => detail['@type']?.endsWith('.FcmError'));
  const code = fcm?.errorCode ?? error.status;
  // Of a token that never was one, FCM says INVALID_ARGUMENT as of any other fault.
  const known = code === 'INVALID_ARGUMENT' && isAboutToken(error.message, details)
    ? { meaning: 'recipient_invalid', words: 'this is no registration token' }
    : errorOf(code);
  return refused(answer, known, { provider_code: code, detail: error.message });
}

const isAboutToken = (message, details) =>
  /registration token/i.test(message) ||
  details.some((detail) => detail.fieldViolations?.some(({ field }) => field === 'message.token'));
