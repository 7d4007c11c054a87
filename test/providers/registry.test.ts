import { expect, it } from 'vitest';
import { PROVIDER_KINDS } from '../../src/domain/providers.ts';
import { openProviders } from '../../src/providers/registry.ts';

it('knows providers by their names, and no others', async () => {
  const nowhere = { path: '', modelsDir: '/nowhere', roomsDir: '/nowhere' };
  const providers = openProviders({ simUrl: 'http://127.0.0.1:9', exec: nowhere });
  expect(providers.engines()).toEqual([]);
  expect(providers.get('sim')).toMatchObject({ name: 'sim', kinds: ['chat', 'image', 'tts', 'stt'] });
  expect(providers.get('openai')).toMatchObject({ name: 'openai', kinds: ['chat', 'image', 'tts', 'stt'] });
  for (const [name, kinds] of Object.entries(PROVIDER_KINDS))
    expect(providers.get(name)).toMatchObject({ name, kinds });
  expect(() => providers.get('nobody')).toThrow('nobody');
  await providers.close();
  const without = openProviders({ simUrl: null });
  expect(() => without.get('sim')).toThrow('sim');
  expect(() => without.get('exec')).toThrow('exec');
  await without.close();
});
