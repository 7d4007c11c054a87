# One image for every role; the command says which:
#   src/main.ts (everything), src/api/main.ts, src/workers/main.ts, src/migrate.ts, src/audit.ts, src/reseal.ts, ...
# It runs on a PostgreSQL that DATABASE_URL names: the embedded one's programs are left out.

FROM node:24-bookworm-slim AS modules
WORKDIR /app
COPY package.json package-lock.json ./
# What is optional is embedded PostgreSQL for each system, and natives that have a substitute. No package's script has to run.
RUN npm ci --omit=dev --omit=optional --ignore-scripts --workspaces=false --no-audit --no-fund

FROM node:24-bookworm-slim
ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    MILLRACE_DATA_DIR=/data
# Its own folder, which no other container needs to see once artifacts are in S3 and secrets come by the environment.
RUN mkdir /data && chown node:node /data
WORKDIR /app
COPY --from=modules /app/node_modules ./node_modules
COPY package.json ./
COPY tools ./tools
COPY prisma ./prisma
# The page that webhooks name as their sender's.
COPY docs/webhooks.md ./docs/webhooks.md
COPY src ./src
USER node
EXPOSE 8080
# Liveness alone. Whether it can do its work is /readyz, which a balancer should ask.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["node", "tools/healthy.mjs"]
STOPSIGNAL SIGTERM
# Node itself and no npm before it, which would keep SIGTERM to itself. The heap is as in package.json.
ENTRYPOINT ["node", "--max-semi-space-size=16", "--max-old-space-size=512", "--import", "./tools/require-node.mjs"]
CMD ["src/main.ts"]
