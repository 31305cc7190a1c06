/** What 'hermes-adapter' offers. The payloads are those of ../schemas. */
declare module 'hermes-adapter' {
  export type Level = 'accepted' | 'sent' | 'delivered' | 'read';

  /** Why a delivery did not happen; `provider_throttled` has the message wait and ask again. */
  export type FailureCode =
    | 'recipient_invalid' | 'recipient_unreachable' | 'recipient_expired'
    | 'sender_rejected' | 'content_rejected'
    | 'provider_rejected' | 'provider_deleted' | 'provider_error' | 'provider_throttled'
    | 'provider_unavailable' | 'provider_state_unknown'
    | 'configuration' | 'not_supported' | 'timeout' | 'outcome_unknown' | 'internal';

  export interface Message {
    id: string;
    attempt: number;
    channel: 'sms' | 'email' | 'push' | 'whatsapp';
    to: string;
    from: string | null;
    content: {
      text: string;
      subject: string | null;
      html: string | null;
      template: { name: string; language: string; parameters: string[] } | null;
      data: Record<string, string>;
    };
    category: 'otp' | 'transactional' | 'marketing';
    /** Goes into the provider's own field, so that its reports name the message. */
    reference: string;
    /** The webhook's address with the reference in it. */
    callback_url: string;
    not_after: string;
    /** Marketing by e-mail: for List-Unsubscribe and List-Unsubscribe-Post (RFC 8058). */
    unsubscribe_url?: string | null;
  }

  export interface Webhook {
    method: string;
    query: Record<string, string>;
    content_type: string;
    body: string;
  }

  type Headers = Record<string, string> | [string, string][];
  type Form = Record<string, unknown> | [string, unknown][];

  export interface Request {
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
    /** https, and a host of the manifest. */
    url: string;
    headers?: Headers;
    body?: string;
    form?: Form;
    json?: unknown;
    /** Shortens the manifest's. */
    timeout_ms?: number;
  }

  export interface HttpError {
    kind: 'forbidden' | 'dns' | 'connect' | 'tls' | 'timeout' | 'reset' | 'too_large' | 'limit'
      | 'secret' | 'malformed';
    message: string;
    /** The provider may have the request all the same. */
    maybe_sent: boolean;
  }

  /** Either `error`, or all the others. Names of headers are in lower case. */
  export interface Answer {
    status: number;
    headers: [string, string][];
    body: string;
    error?: HttpError;
  }

  export type Call<T> = Generator<Request, T, Answer>;

  export interface SendResult {
    ok: boolean;
    level?: Exclude<Level, 'read'>;
    provider_ids?: string[];
    segments?: number;
    code?: FailureCode;
    provider_code?: string;
    detail?: string;
    /** Seconds. */
    retry_after?: number;
  }

  export interface Report {
    /** Ours, as the report brought it back. */
    reference: string | null;
    /** Tells a repeated report from a new one. */
    id: string;
    level?: Level;
    failure?: { code: FailureCode; provider_code?: string; detail?: string };
    provider_status?: string;
    final: boolean;
    /** RFC 3339, with the offset from UTC. */
    at?: string;
    /** The recipient wants no more: marked it as spam, or unsubscribed at the provider. */
    opt_out?: 'complaint' | 'unsubscribe';
  }

  export interface Inbound { id: string; from: string; to: string; text: string; at?: string }
  export interface Reported { reports?: Report[]; inbound?: Inbound[] }
  export interface Health { ok: boolean; detail?: string }
  export type Configuration = Record<string, string | number | boolean>;

  export interface Adapter {
    onConfigure?(configuration: Configuration): void;
    onMessage(message: Message): Call<SendResult> | SendResult;
    onDeliveryReport?(webhook: Webhook): Call<Reported> | Reported;
    onHealthCheck?(): Call<Health> | Health;
  }

  /** `export const plugin = adapter({ … })` */
  export function adapter(parts: Adapter): unknown;

  export function sendHttp(request: Request): Call<Answer>;
  export function header(answer: Answer, name: string): string | undefined;
  export function parse<T = any>(text: string, otherwise?: T): T;
  export function retryAfter(answer: Answer): number | undefined;
  export function encode(text: unknown): string;
  export function encodeForm(form: Form): string;
  export function decodeForm(text: string): Record<string, string>;

  export function getConfig(key: string): any;
  export function secret(key: string): string;
  export function basicAuth(userKey: string, passwordKey: string): string;
  export function token(name: string): string;

  export function storeGet(key: string): string | undefined;
  /** Throws a text when a limit would be broken. */
  export function storeSet(key: string, value: unknown): void;
  export function log(level: 'debug' | 'info' | 'warning' | 'error', message: unknown): void;
  /** `name` is of lower-case letters and underscores. */
  export function emitMetric(name: string, value?: number): void;

  export function accepted(level: Exclude<Level, 'read'>, more?: Partial<SendResult>): SendResult;
  export function failed(code: FailureCode, more?: Partial<SendResult>): SendResult;
  export function unanswered(error: HttpError): SendResult;
  /** A success without the message's id in it. */
  export function unclear(answer: Answer): SendResult;

  /** `{ meaning: { code: words } }` */
  export type Table = Record<string, Record<string, string>>;
  /** `meaning` is what the table has: a level, a failure's code. */
  export interface Known { meaning: any; words: string }
  export function lookup(table: Table): (code: unknown) => Known | undefined;
  /** By what `lookup` knows of the provider's code, else by the answer's status. */
  export function refused(
    answer: Answer, known?: Known, more?: { provider_code?: unknown; detail?: string },
  ): SendResult;
}
