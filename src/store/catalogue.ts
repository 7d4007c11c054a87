// What is sold, as rows: plans, models, routes, prices. Small, read whole, kept in memory, read again when it changes.
import type { Db } from '../db/pool.ts';
import type { Kind } from '../domain/job.ts';
import type { Model, ModelData, ModelRoute } from '../domain/model.ts';
import type { Cap, PlanTerms } from '../domain/plan.ts';
import { parsePrice, type PriceLine, type PriceRow } from '../domain/pricing.ts';
import { servedEngines } from './workers.ts';

/** A route with what only the worker needs. */
export interface FullRoute extends ModelRoute {
  modelId: string;
  baseUrl: string | null;
  sealedKey: Buffer | null;
  /** The operator's own word. `enabled` is false as well where no live worker has the route's engine. */
  switchedOn: boolean;
}

export interface Catalogue {
  plans: Map<string, PlanTerms>;
  /** By id and by every alias. */
  models: Map<string, Model>;
  routes: Map<string, FullRoute>;
  /** Every price ever in force, since a job keeps the one it was held under. */
  prices: Map<string, PriceLine[]>;
  /** What the API calls itself; null before it first listened. */
  publicUrl: string | null;
}

interface PlanRow {
  id: string;
  name: string;
  slots: number;
  line_length: number;
  terms: { caps?: Cap[]; max_audio_ms?: number; max_deadline_s?: number; retention_days?: number };
}

interface ModelRow {
  id: string;
  kind: Kind;
  name: string;
  aliases: string[];
  tags: string[];
  enabled: boolean;
  data: ModelData;
  created_at: Date;
  deprecated_at: Date | null;
  sunset_at: Date | null;
  replacement: string | null;
}

interface RouteRow {
  id: string;
  model_id: string;
  provider: string;
  upstream_model: string;
  base_url: string | null;
  api_key: Buffer | null;
  enabled: boolean;
  cost: PriceRow[];
  data: ModelRoute['data'];
}

export async function readCatalogue(db: Db): Promise<Catalogue> {
  const plans = await db.query<PlanRow>('select id, name, slots, line_length, terms from plans order by id');
  const models = await db.query<ModelRow>('select * from models order by id');
  const routes = await db.query<RouteRow>('select * from routes order by model_id, rank, id');
  const prices = await db.query<{ id: string; model_id: string; lines: PriceRow[]; in_force: boolean }>(
    'select id, model_id, lines, effective_from <= (select millrace_now()) as in_force from prices order by effective_from desc, id desc',
  );
  const settings = await db.query<{ value: string }>(`select value from settings where name = 'public_url'`);
  const served = await servedEngines(db);
  const hasEngine = ({ provider, upstream_model: name }: RouteRow) => provider !== 'exec' || served.has(name);
  const fullRoutes = routes.rows.map((row) => toRoute(row, hasEngine(row)));
  const catalogue: Catalogue = {
    plans: new Map(plans.rows.map((row) => [row.id, toTerms(row)])),
    models: new Map(),
    routes: new Map(fullRoutes.map((route) => [route.id, route])),
    prices: new Map(prices.rows.map((row) => [row.id, parsePrice(row.lines)])),
    publicUrl: settings.rows[0]?.value ?? null,
  };
  for (const row of models.rows) {
    const price = prices.rows.find((candidate) => candidate.model_id === row.id && candidate.in_force);
    const own = routes.rows.filter((route) => route.model_id === row.id);
    // Engines alone do it, and nobody has them: as if it were switched off.
    const absent = own.length > 0 && !own.some(hasEngine);
    const model = toModel(row, {
      enabled: row.enabled && !absent,
      routes: fullRoutes.filter((route) => route.modelId === row.id),
      price: price ? { id: price.id, lines: parsePrice(price.lines) } : null,
    });
    for (const name of [row.id, ...row.aliases]) catalogue.models.set(name, model);
  }
  return catalogue;
}

const DEFAULT_MAX_AUDIO_MS = 600_000;
const DEFAULT_MAX_DEADLINE_S = 86_400;

function toTerms({ id, name, slots, line_length, terms }: PlanRow): PlanTerms {
  return {
    id,
    name,
    slots,
    lineLength: line_length,
    caps: terms.caps ?? [],
    maxAudioMs: terms.max_audio_ms ?? DEFAULT_MAX_AUDIO_MS,
    maxDeadlineS: terms.max_deadline_s ?? DEFAULT_MAX_DEADLINE_S,
    retentionDays: terms.retention_days ?? null,
  };
}

function toModel(row: ModelRow, sold: Pick<Model, 'enabled' | 'routes' | 'price'>): Model {
  const { created_at, deprecated_at, sunset_at, ...rest } = row;
  return { ...rest, createdAt: created_at, deprecatedAt: deprecated_at, sunsetAt: sunset_at, ...sold };
}

function toRoute(row: RouteRow, present: boolean): FullRoute {
  return {
    id: row.id,
    modelId: row.model_id,
    provider: row.provider,
    upstreamModel: row.upstream_model,
    baseUrl: row.base_url,
    sealedKey: row.api_key,
    enabled: row.enabled && present,
    switchedOn: row.enabled,
    cost: parsePrice(row.cost),
    data: row.data,
  };
}
