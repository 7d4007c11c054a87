-- Millrace's spine. Column by column the words of docs/glossary; checks and partial indexes are by hand, since
-- Prisma's schema language has no words for them. Two roles use these tables (see the end): millrace_flow, which
-- writes, and millrace_client, which only reads the rows of the account it is set to.

-- Time. Every deadline, lease and window is judged by this one clock. `shift` is for tests, and only the owner can set it.
create table clock (
  id boolean primary key default true check (id),
  shift interval not null default interval '0'
);
insert into clock default values;

create function millrace_now() returns timestamptz language sql volatile parallel unsafe
  as 'select clock_timestamp() + (select shift from clock)';

-- Facts about the installation: the fingerprint of the key pepper, the catalogue's version.
create table settings (
  name text primary key,
  value text not null
);

-- ---------------------------------------------------------------- what is sold

create table plans (
  id text primary key,
  name text not null,
  slots integer not null check (slots >= 0),
  line_length integer not null check (line_length >= 0),
  -- Caps of one request, and other terms: { caps: {...}, max_audio_ms, max_deadline_s, retention_days }.
  terms jsonb not null default '{}'
);

create table models (
  id text primary key,
  kind text not null check (kind in ('chat', 'image', 'tts', 'stt')),
  name text not null,
  aliases text[] not null default '{}',
  tags text[] not null default '{}',
  enabled boolean not null default true,
  -- What bounds a call that names no bound: { default_output_tokens, context_length, default_size, bytes_per_token, ... }.
  data jsonb not null default '{}',
  created_at timestamptz not null default millrace_now(),
  deprecated_at timestamptz,
  sunset_at timestamptz,
  replacement text
);

create table routes (
  id text primary key,
  model_id text not null references models,
  provider text not null,
  upstream_model text not null,
  -- Null: the provider knows its own address (sim).
  base_url text,
  -- Sealed with MILLRACE_SECRET_KEY; never shown.
  api_key bytea,
  -- Lower is tried first.
  rank integer not null default 0,
  enabled boolean not null default true,
  disabled_reason text,
  -- The vendor's own price, in the shape of prices.lines: what a call costs the operator.
  cost jsonb not null default '[]',
  -- { unknown_fields: 'pass' | 'refuse', fields: [...] }
  data jsonb not null default '{}'
);
create index routes_model on routes (model_id, rank);

-- A price is never edited: a new version takes over, and a job keeps the one it was held under.
create table prices (
  id text primary key,
  model_id text not null references models,
  -- [{ name, measure, credits_per_million }], credits_per_million a decimal string.
  lines jsonb not null,
  effective_from timestamptz not null default millrace_now()
);
create index prices_model on prices (model_id, effective_from desc);

-- ---------------------------------------------------------------- who buys

create table accounts (
  id text primary key,
  name text not null,
  email text,
  status text not null default 'active' check (status in ('active', 'restricted', 'suspended', 'closed')),
  livemode boolean not null,
  -- The live account whose test twin this is; test keys belong to the twin, so its ledger is its own.
  test_of text references accounts,
  plan_id text not null references plans,
  overrides jsonb not null default '{}',
  -- The balance is a projection of the ledger; the audit recomputes it.
  available bigint not null default 0 check (available >= 0),
  held bigint not null default 0 check (held >= 0),
  debt bigint not null default 0 check (debt >= 0),
  -- Slot numbers in use, one bit each, slot 1 first. jobs.slot is the truth; the audit compares.
  busy_slots bytea not null default '',
  -- How many jobs wait in the line.
  line_waiting integer not null default 0 check (line_waiting >= 0),
  -- Last numbers given out. Both counters move under this row's lock, so number order is commit order.
  event_sequence bigint not null default 0,
  ledger_sequence bigint not null default 0,
  created_at timestamptz not null default millrace_now(),
  status_since timestamptz not null default millrace_now(),
  check (livemode = (test_of is null))
) with (fillfactor = 50);
create unique index accounts_test_of on accounts (test_of) where test_of is not null;

create table api_keys (
  id text primary key,
  -- Null for the operator's keys, which open /v1/admin and nothing else.
  account_id text references accounts,
  mode text not null check (mode in ('live', 'test', 'admin')),
  -- The public part of the token, by which it is found; the secret is kept as HMAC-SHA-256 under the pepper.
  lookup text not null unique,
  secret_hmac bytea not null,
  last4 text not null,
  name text not null default '',
  created_at timestamptz not null default millrace_now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  unique (account_id, id),
  check ((mode = 'admin') = (account_id is null))
);

-- ---------------------------------------------------------------- money

-- Credits of one origin and one expiry. Holds take from the lot that lapses soonest.
create table lots (
  id text primary key,
  account_id text not null references accounts,
  source text not null check (source in ('grant', 'purchase', 'bonus', 'allowance', 'trial', 'adjustment')),
  granted bigint not null check (granted >= 0),
  remaining bigint not null check (remaining >= 0),
  held bigint not null default 0 check (held >= 0),
  -- Bound to models with this tag; null: any.
  tag text,
  refundable boolean not null default false,
  expires_at timestamptz,
  created_at timestamptz not null default millrace_now(),
  unique (account_id, id),
  check (remaining + held <= granted)
) with (fillfactor = 50);
create index lots_open on lots (account_id, expires_at nulls last, id) where remaining > 0;
create index lots_lapsing on lots (expires_at) where expires_at is not null and remaining > 0;

-- One row a movement of an account's balance; never edited, never deleted (see the grants).
-- The rows every job writes (here, in ledger_lines and in jobs) have no foreign keys: their writers hold the account's row
-- locked, nobody may delete what they name, and the audit looks. A check of a key costs as much as the row itself.
create table ledger_transactions (
  account_id text not null,
  sequence bigint not null,
  id text not null,
  type text not null check (type in ('hold', 'capture', 'release', 'grant', 'expire', 'adjust')),
  job_id text,
  -- What moved. The lines say from where to where.
  amount bigint not null check (amount >= 0),
  -- The account's available credits once this row was applied.
  balance_after bigint not null check (balance_after >= 0),
  reason text,
  actor text,
  created_at timestamptz not null,
  primary key (account_id, sequence),
  check ((job_id is not null) = (type in ('hold', 'capture', 'release')) or type = 'expire')
);
-- A job is held once, captured once and released once, however often its settlement is tried.
create unique index ledger_transactions_job on ledger_transactions (job_id, type) where job_id is not null;

-- A line moves credits of one lot from one bucket to another, so every transaction sums to zero by its shape.
-- Lines without a lot are the operator's own side (overrun).
create table ledger_lines (
  account_id text not null,
  sequence bigint not null,
  line smallint not null,
  lot_id text,
  from_bucket text not null,
  to_bucket text not null,
  amount bigint not null check (amount > 0),
  primary key (account_id, sequence, line),
  check (from_bucket <> to_bucket),
  check (from_bucket in ('source', 'available', 'held', 'operator')),
  check (to_bucket in ('available', 'held', 'captured', 'expired', 'clawed_back', 'refunded', 'overrun')),
  check ((lot_id is null) = (from_bucket = 'operator'))
);

-- ---------------------------------------------------------------- work

create table jobs (
  account_id text not null,
  id text not null,
  key_id text not null,
  livemode boolean not null,
  kind text not null check (kind in ('chat', 'image', 'tts', 'stt')),
  model text not null,
  route_id text not null,
  status text not null check (status in ('queued', 'running', 'succeeded', 'failed', 'canceled', 'expired')),
  -- Up by one at every change of status; what a client compares.
  version integer not null default 1,
  -- How often it was claimed: the number of its current attempt, and the fence of every late writer.
  epoch integer not null default 0,
  failures smallint not null default 0,
  interruptions smallint not null default 0,
  ambiguous smallint not null default 0,
  -- The right to run. A job with a slot is in the queue or at a worker.
  slot integer check (slot > 0),
  worker_id text,
  -- high, normal, low as 0, 1, 2: orders the account's own line only.
  priority smallint not null check (priority between 0 and 2),
  -- The number of its job.queued event, which is its place among its equals for ever.
  sequence bigint not null,
  -- Its place while it waits in the line, else null. Apart from `sequence` so that a claim, which changes
  -- no indexed column, is a heap-only update.
  place bigint,
  -- In back-off until then.
  due_at timestamptz,
  rung_at timestamptz,
  rings smallint not null default 0,
  deadline timestamptz not null,
  -- The client named the deadline, so work up to it is the client's.
  deadline_named boolean not null,
  hold bigint not null check (hold >= 0),
  cost bigint check (cost >= 0 and cost <= hold),
  price_id text not null,
  bounds text not null,
  metadata text not null default '{}',
  end_user text,
  client_request_id text,
  idempotency_key text,
  -- The client's own bytes, or where storage keeps them when they are many.
  input text,
  input_key text,
  output text,
  usage text,
  error text,
  cancel_requested_at timestamptz,
  canceled_by text check (canceled_by in ('client', 'operator', 'suspension')),
  created_at timestamptz not null,
  started_at timestamptz,
  ended_at timestamptz,
  data_deleted_at timestamptz,
  primary key (account_id, id),
  check ((status in ('succeeded', 'failed', 'canceled', 'expired')) = (ended_at is not null)),
  check ((ended_at is not null) = (cost is not null)),
  check (ended_at is null or slot is null),
  check ((status = 'running') = (worker_id is not null)),
  check (status <> 'running' or slot is not null),
  check ((place is not null) = (status = 'queued' and slot is null)),
  check (due_at is null or place is not null)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
-- One job a slot; and, being small, the list of everything that is in the queue or at a worker.
create unique index jobs_slot on jobs (account_id, slot) where slot is not null;
create index jobs_line on jobs (account_id, priority, place) where place is not null;
-- Those of the line who may start: thousands in back-off at its head cost the next in line nothing.
create index jobs_ready on jobs (account_id, priority, place) where place is not null and due_at is null;
create index jobs_line_deadline on jobs (deadline) where place is not null;
-- Clients look up what they sent.
create index jobs_idempotency_key on jobs (account_id, idempotency_key) where idempotency_key is not null;
create index jobs_due on jobs (due_at) where due_at is not null;

create function refuse_transition() returns trigger language plpgsql as $$
begin
  raise exception 'job % may not go from % to %', old.id, old.status, new.status using errcode = '23514';
end $$;
-- The published state graph (src/domain/job.ts). The condition is judged without calling the function.
create trigger jobs_transition before update of status on jobs for each row
  when (old.status is distinct from new.status and not (
    (old.status = 'queued' and new.status in ('running', 'canceled', 'expired')) or
    (old.status = 'running' and new.status in ('queued', 'succeeded', 'failed', 'canceled', 'expired'))))
  execute function refuse_transition();

-- One call of a provider, written down before it is made.
create table attempts (
  account_id text not null,
  job_id text not null,
  attempt integer not null,
  worker_id text not null,
  route_id text not null,
  slot integer not null,
  started_at timestamptz not null,
  ended_at timestamptz,
  outcome text check (outcome in ('succeeded', 'failed', 'stopped', 'ambiguous', 'interrupted')),
  error_code text,
  remote_id text,
  -- The provider's side of the story: { sent, http_status, provider_request_id, first_byte_ms, note }.
  evidence text,
  usage text,
  -- What it costs the operator, in credits, and what of that nobody paid for.
  provider_cost bigint,
  waste bigint,
  overrun bigint,
  primary key (account_id, job_id, attempt)
) with (fillfactor = 80);
-- What nobody pays for is rare, so looking at the last hour of it is cheap.
create index attempts_unpaid on attempts (ended_at) where waste > 0 or overrun > 0;
-- Attempts are written in the order of their time: a few bytes a hundred pages find the last hour's.
create index attempts_recent on attempts using brin (started_at) with (pages_per_range = 32, autosummarize = on);

-- A worker's lease. Its jobs are taken back once it lapses.
create table workers (
  id text primary key,
  lease_until timestamptz not null,
  queues text[] not null,
  host text not null,
  pid integer not null,
  started_at timestamptz not null default millrace_now()
) with (fillfactor = 50);

create table artifacts (
  id text primary key,
  account_id text not null references accounts,
  direction text not null check (direction in ('input', 'output')),
  job_id text,
  content_type text not null,
  bytes bigint not null check (bytes >= 0),
  sha256 text not null,
  width integer,
  height integer,
  duration_ms integer,
  sample_rate integer,
  storage_key text not null,
  created_at timestamptz not null default millrace_now(),
  expires_at timestamptz,
  deleted_at timestamptz,
  foreign key (account_id, job_id) references jobs (account_id, id)
);
create index artifacts_account on artifacts (account_id, id);
create index artifacts_job on artifacts (account_id, job_id) where job_id is not null;

-- ---------------------------------------------------------------- what is told

-- Facts, numbered without gaps within an account. The body is built once and never again.
create table events (
  account_id text not null,
  sequence bigint not null,
  id text not null,
  type text not null,
  job_id text,
  body text not null,
  created_at timestamptz not null,
  primary key (account_id, sequence, created_at)
) partition by range (created_at);
create index events_job on events (account_id, job_id, sequence) where job_id is not null;

-- What a chat job has said so far, in steps: `deltas` is a JSON array of `count` deltas, the first of which has
-- the number `first`. Dropped by the day.
create table deltas (
  account_id text not null,
  job_id text not null,
  attempt integer not null,
  first integer not null,
  count integer not null check (count > 0),
  deltas text not null,
  created_at timestamptz not null,
  primary key (account_id, job_id, attempt, first, created_at)
) partition by range (created_at);

-- Which request made which job. Unique by the account's lock, since a partitioned key must contain its partition's column.
create table idempotency_keys (
  account_id text not null,
  key text not null,
  request_hash bytea not null,
  job_id text not null,
  created_at timestamptz not null,
  primary key (account_id, key, created_at)
) partition by range (created_at);

-- Where events go besides; rows for them are written in the transaction that writes the event.
create table endpoints (
  id text primary key,
  account_id text not null references accounts,
  url text not null,
  events text[] not null,
  enabled boolean not null default true,
  created_at timestamptz not null default millrace_now(),
  unique (account_id, id)
);
create index endpoints_account on endpoints (account_id) where enabled;

create table deliveries (
  account_id text not null,
  event_sequence bigint not null,
  endpoint_id text not null,
  status text not null default 'pending' check (status in ('pending', 'delivered', 'failed', 'exhausted')),
  next_attempt_at timestamptz,
  created_at timestamptz not null default millrace_now(),
  primary key (account_id, event_sequence, endpoint_id),
  foreign key (account_id, endpoint_id) references endpoints (account_id, id)
);
create index deliveries_due on deliveries (next_attempt_at) where next_attempt_at is not null;

-- Up to where an account's books were found right, so that the next audit can start there.
create table audit_checkpoints (
  account_id text primary key references accounts,
  ledger_sequence bigint not null,
  -- { lot_id: { granted, remaining, held, captured, expired, ... } } at that number.
  lots jsonb not null,
  checked_at timestamptz not null
);

-- Operators' requests that must not take effect twice, with the answer that a repeat is given: sealed with
-- MILLRACE_SECRET_KEY, since a new account's first keys are in it. Kept 30 days.
create table operator_requests (
  key text primary key,
  request_hash bytea not null,
  -- Null only before its transaction commits.
  answer bytea,
  created_at timestamptz not null default millrace_now()
);
create index operator_requests_created on operator_requests (created_at);

-- What operators did.
create table audit_log (
  id text primary key,
  actor text not null,
  action text not null,
  target text,
  reason text,
  details jsonb not null default '{}',
  created_at timestamptz not null default millrace_now()
);

-- ---------------------------------------------------------------- partitions

-- Makes the partitions of one table that writers will soon need and drops those nobody reads any more. The flow role may
-- call it without owning the tables. Idempotency keys and events live by the month (kept 30 days and more), deltas by the
-- day (kept an hour after a job's end; a job lives a day at most).
-- Writers queue behind whoever waits for a lock that shuts them out, so nobody waits for one longer than a moment.
-- True: all was done. False: the rest has to wait for the next call.
create function rotate_partitions(parent text) returns boolean language plpgsql security definer
  set search_path = public, pg_temp set timezone = 'UTC' set lock_timeout = '100ms' as $$
declare
  kind record;
  period timestamptz;
  made text;
  part record;
  done boolean := true;
begin
  select * into strict kind from (values
    ('idempotency_keys', 'month', interval '1 month', 'YYYYMM', interval '31 days'),
    ('events', 'month', interval '1 month', 'YYYYMM', interval '31 days'),
    ('deltas', 'day', interval '1 day', 'YYYYMMDD', interval '26 hours')) as t (name, unit, step, stamp, keep)
    where t.name = parent;
  if not pg_try_advisory_xact_lock(hashtext('millrace.rotate_partitions'), hashtext(parent)) then
    return false;
  end if;
  period := date_trunc(kind.unit, millrace_now(), 'UTC') - kind.step;
  for i in 0..3 loop
    made := kind.name || '_' || to_char(period at time zone 'UTC', kind.stamp);
    if to_regclass(made) is null then
      -- Made aside and attached, which shuts out neither readers nor writers; `partition of` would shut out both.
      execute format('create table %I (like %I including all)', made, kind.name);
      execute format('alter table %I attach partition %I for values from (%L) to (%L)',
        kind.name, made, period, period + kind.step);
    end if;
    period := period + kind.step;
  end loop;
  for part in
    select c.relname as name,
      substring(pg_get_expr(c.relpartbound, c.oid) from 'TO \(''([^'']+)''\)')::timestamptz as ends
    from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = kind.name::regclass
  loop
    if part.ends < millrace_now() - kind.keep then
      begin
        execute format('drop table %I', part.name);
      exception when lock_not_available then
        -- Somebody reads. What was made above stays.
        done := false;
      end;
    end if;
  end loop;
  return done;
end $$;
select rotate_partitions(name) from (values ('idempotency_keys'), ('events'), ('deltas')) as t (name);

-- ---------------------------------------------------------------- roles

-- millrace_client reads what serves one client, millrace_flow does everything else; neither owns a table, so neither
-- escapes the policies. The settings name is read once a statement (the sub-select), not once a row.
do $$
declare
  name text;
begin
  foreach name in array array['accounts', 'api_keys', 'lots', 'ledger_transactions', 'ledger_lines', 'jobs', 'attempts',
    'artifacts', 'events', 'deltas', 'idempotency_keys', 'endpoints', 'deliveries', 'audit_checkpoints']
  loop
    execute format('alter table %I enable row level security', name);
    execute format('create policy flow on %I to millrace_flow using (true) with check (true)', name);
    execute format('create policy client on %I for select to millrace_client using (%I = (select current_setting(''millrace.account_id'', true)))',
      name, case name when 'accounts' then 'id' else 'account_id' end);
  end loop;
end $$;

grant usage on schema public to millrace_client, millrace_flow;

grant select on clock, plans, models, prices, accounts, lots, ledger_transactions, ledger_lines, jobs, attempts,
  artifacts, events, deltas to millrace_client;

grant select, insert, update on settings, plans, models, routes, prices, accounts, api_keys, lots, jobs, attempts, workers,
  artifacts, endpoints, deliveries, audit_checkpoints to millrace_flow;
-- What is written there stays as it was written.
grant select, insert on ledger_transactions, ledger_lines, events, deltas, idempotency_keys, audit_log to millrace_flow;
grant delete on workers to millrace_flow;
grant select, insert, update, delete on operator_requests to millrace_flow;
grant select on clock to millrace_flow;

revoke execute on function rotate_partitions(text) from public;
grant execute on function rotate_partitions(text) to millrace_flow;
