// Bodies that are accepted as they stand, for the document: what a reader of it sends first. A test sends each.
const messages = [{ role: 'user', content: 'What does a mill do?' }];
const chat = { model: 'sim/chat', input: { messages, max_tokens: 200 } };
const image = { model: 'sim/image', input: { prompt: 'a mill at dawn', size: '320x200', n: 1 } };
const tts = { model: 'sim/tts', input: { input: 'The wheel turns as long as the water runs.' } };
/** A WAV of an eighth of a millisecond: in a word of the simulator's there would be thousands of letters. */
const audio = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA==';
const stt = { model: 'sim/stt', input: { audio, language: 'en' } };
const model = 'vendor/mill-1';
const perMillion = (measure: string, credits_per_million: string) => ({
  name: 'token',
  measure,
  credits_per_million,
});

/** By method and path; each under what it is called. */
export const EXAMPLES: Record<string, Record<string, object>> = {
  'POST /v1/jobs': { chat, image, tts, stt },
  'POST /v1/jobs/batch': { batch: { jobs: [chat, image] } },
  'POST /v1/tickets': { all: { jobs: 'all', expires_in_s: 60 } },
  'POST /v1/artifacts': { promise: { content_type: 'audio/wav', bytes: 50_000_000 } },
  'POST /v1/artifacts/{id}/links': { link: { expires_in_s: 3600 } },
  'POST /v1/webhook-endpoints': {
    hook: { url: 'https://hooks.example/millrace', events: ['job.*', 'endpoint.disabled'] },
  },
  'PATCH /v1/webhook-endpoints/{id}': { thin: { payload: 'thin', description: 'the new shop' } },
  'POST /v1/webhook-endpoints/{id}/redeliver': {
    failed: { after: '2026-11-20T00:00:00Z', only_failed: true },
  },
  'POST /v1/admin/accounts': { account: { name: 'Mills and Sons', plan: 'startup', credits: 20_000_000 } },
  'PATCH /v1/admin/accounts/{id}': { plan: { plan: 'production', reason: 'they have grown' } },
  'POST /v1/admin/accounts/{id}/grants': { grant: { credits: 20_000_000, reason: 'invoice 1001' } },
  'PUT /v1/admin/models/{id}': {
    chat: {
      kind: 'chat',
      name: 'Mill 1',
      data: { default_output_tokens: 1000, context_length: 32_000 },
    },
  },
  'POST /v1/admin/prices': {
    chat: { model, lines: [perMillion('input', '1000000'), perMillion('output', '4000000')] },
  },
  'POST /v1/admin/routes': {
    openai: {
      model,
      provider: 'openai',
      base_url: 'https://vendor.example/v1',
      api_key: 'key-123',
      upstream_model: 'mill-1-large',
    },
  },
  'PATCH /v1/admin/routes/{id}': { off: { enabled: false, reason: 'the vendor is down' } },
};
