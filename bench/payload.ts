/** What both rivals are given: a small chat job, answered whole. */
export const PAYLOAD = {
  model: 'sim/chat',
  input: {
    messages: [
      { role: 'system', content: 'You are a miller. Answer in one sentence.' },
      { role: 'user', content: 'How does the water of the river become the flour of the bread?' },
    ],
    max_tokens: 64,
    stream: false,
  },
};
