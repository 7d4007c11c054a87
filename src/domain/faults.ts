/** What a simulated call can be asked to do wrong: what the gate lets through is what the simulator knows. */
export const FAULTS = [
  '429',
  '429-retry-after',
  '500',
  'refusal',
  'hang',
  'drip',
  'cut',
  'malformed',
  'wrong-usage',
  'billed-then-lost',
  'async',
] as const;
export type Fault = (typeof FAULTS)[number];
