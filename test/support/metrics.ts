import { request } from 'undici';

/** The sample of one series, named as Prometheus writes it; NaN if there is none. */
export async function sample(url: string, series: string): Promise<number> {
  const { body } = await request(`${url}/metrics`);
  const line = (await body.text()).split('\n').find((one) => one.startsWith(`${series} `));
  return Number(line?.slice(series.length + 1) ?? NaN);
}
