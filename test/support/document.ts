// The OpenAPI document as tests walk it: every operation, with what its parameters and bodies may be.
import type { Client } from './client.ts';

export interface Schema {
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  additionalProperties?: boolean | Schema;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  format?: string;
}

export interface Parameter {
  in: 'query' | 'path' | 'header';
  name: string;
  required?: boolean;
  schema: Schema;
  style?: string;
  description?: string;
}

interface Content {
  content?: Record<string, { schema: Schema; examples?: Record<string, { value: object }> }>;
}

export interface Operation {
  method: string;
  /** With `{id}` where ids go. */
  path: string;
  tags: string[];
  parameters: Parameter[];
  /** Of a JSON body, if it takes one. */
  body: Schema | null;
  /** Of that body, by what they are called. */
  examples: Record<string, { value: object }>;
  /** By status, or `4XX`. */
  responses: Record<string, Content>;
  /** Whether it answers without a key. */
  open: boolean;
}

export interface Document {
  openapi: string;
  info: Record<string, unknown>;
  servers: { url: string }[];
  tags: { name: string }[];
  security: object[];
  components: { securitySchemes: Record<string, object> };
  paths: Record<string, Record<string, RawOperation>>;
}

export interface RawOperation extends Partial<Pick<Operation, 'tags' | 'parameters' | 'responses'>> {
  summary?: string;
  security?: object[];
  requestBody?: Content & { required?: boolean };
}

export async function readDocument(client: Pick<Client, 'get'>): Promise<Document> {
  const { status, body } = await client.get<Document>('/openapi.json');
  if (status !== 200) throw new Error(`no document: ${status}`);
  return body;
}

export function operationsOf(document: Document): Operation[] {
  return Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, raw]) => ({
      method: method.toUpperCase(),
      path,
      tags: raw.tags ?? [],
      parameters: raw.parameters ?? [],
      body: raw.requestBody?.content?.['application/json']?.schema ?? null,
      examples: raw.requestBody?.content?.['application/json']?.examples ?? {},
      responses: raw.responses ?? {},
      open: raw.security !== undefined && raw.security.every((way) => Object.keys(way).length === 0),
    })),
  );
}

export const isAdmin = ({ tags }: Operation): boolean => tags.includes('admin');

/** The path with something in the place of each parameter. */
export const fill = ({ path }: Pick<Operation, 'path'>, value: (name: string) => string): string =>
  path.replaceAll(/\{(\w+)\}/g, (_, name: string) => value(name));
