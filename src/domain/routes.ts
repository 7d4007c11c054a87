// Which of a model's routes a job may take.
import type { Model, ModelRoute } from './model.ts';

/** In the order they are tried. A test key's jobs reach the simulator only, however often they fail. */
export function openRoutes(
  { routes }: Pick<Model, 'routes'>,
  { livemode }: { livemode: boolean },
): ModelRoute[] {
  return routes.filter((route) => route.enabled && (livemode || route.provider === 'sim'));
}

/**
 * The route after a failed attempt: the next one round, or the same again if there is no other. A job was let in by what
 * its first route takes, so it may only go to routes that take all of that.
 */
export function routeAfter(
  { routes }: Pick<Model, 'routes'>,
  job: { livemode: boolean; routeId: string },
): string {
  const current = routes.find((route) => route.id === job.routeId);
  const open = openRoutes({ routes }, job).filter((route) => !current || takesAsMuch(route, current));
  const at = open.findIndex((route) => route.id === job.routeId);
  return open[(at + 1) % Math.max(open.length, 1)]?.id ?? job.routeId;
}

function takesAsMuch(route: ModelRoute, as: ModelRoute): boolean {
  if (route.data.unknown_fields === 'pass') return true;
  if (as.data.unknown_fields === 'pass') return false;
  return (as.data.fields ?? []).every((field) => route.data.fields?.includes(field));
}
