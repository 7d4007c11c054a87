// The run that undertaker.test.ts starts and kills.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/support/killed-run/everything.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    cache: false,
    testTimeout: 120_000,
  },
});
