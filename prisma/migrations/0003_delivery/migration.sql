-- What brings results to clients beyond polling (webhooks, tickets for browsers), and what engines and storages of more
-- than one machine need. Only adds: code of the version before runs on it.

-- An id as src/domain/ids.ts makes them, for rows that a statement makes out of others.
create function millrace_id(prefix text) returns text language sql volatile as $$
  with made as (
    select lpad(to_hex((extract(epoch from millrace_now()) * 1000)::bigint), 12, '0') || '7'
      || substr(replace(gen_random_uuid()::text, '-', ''), 14) as hex),
  bits as (select B'00' || ('x' || hex)::bit(128) as bits from made)
  select prefix || '_' || string_agg(
    substr('0123456789abcdefghjkmnpqrstvwxyz', substring(bits from n * 5 + 1 for 5)::bit(5)::integer + 1, 1), '' order by n)
  from bits, generate_series(0, 25) as n
$$;

-- ---------------------------------------------------------------- webhooks

alter table endpoints
  -- Of the account's endpoint for single jobs' own `webhook` it is empty: each of its deliveries has its URL.
  add column for_jobs boolean not null default false,
  add column description text not null default '',
  -- thin: ids and status only.
  add column payload text not null default 'full' check (payload in ('full', 'thin')),
  -- Sealed with MILLRACE_SECRET_KEY; shown once. For a day after a rotation the old one signs besides.
  add column secret bytea,
  add column old_secret bytea,
  add column old_secret_until timestamptz,
  -- Since when nothing has got through; null: the last call did.
  add column failing_since timestamptz,
  -- When its owner was told so by an event, once a time of failing.
  add column warned_at timestamptz,
  add column disabled_reason text check (disabled_reason in ('client', 'gone', 'failing')),
  add column disabled_at timestamptz,
  add column deleted_at timestamptz,
  add check ((old_secret is null) = (old_secret_until is null)),
  add check (enabled = (disabled_reason is null));
-- One an account. Not `(account_id) where for_jobs`, which Prisma would take for one endpoint an account.
create unique index endpoints_for_jobs on endpoints ((case when for_jobs then account_id end));

alter table jobs add column webhook text;

alter table deliveries
  add column id text not null unique default millrace_id('dlv'),
  -- Where a single job's webhook goes; null: to the endpoint's own URL.
  add column url text,
  -- What is called a few at a time only: the endpoint, or of single jobs' webhooks the endpoint and the URL's host.
  add column lane text not null default '',
  -- Calls begun. The number of the last one fences what it writes at its end.
  add column attempts integer not null default 0,
  -- How many calls of this round were in vain: a redelivery begins a new one.
  add column failures integer not null default 0,
  -- A worker calls it at present; past that instant it is taken for dead. `next_attempt_at` is then the same instant.
  add column calling_until timestamptz,
  add column ended_at timestamptz;
drop index deliveries_due;
-- The one finds what is due while that is little, the other each lane's first however much waits in any.
create index deliveries_due on deliveries (next_attempt_at) where next_attempt_at is not null;
create index deliveries_lanes on deliveries (lane, next_attempt_at) where next_attempt_at is not null;
create index deliveries_calling on deliveries (lane) where calling_until is not null;
-- Ids carry the database's time, so this lists an endpoint's, and finds those of a span of time.
create index deliveries_endpoint on deliveries (account_id, endpoint_id, id);

-- One call of a receiver. Goes with its delivery.
create table delivery_attempts (
  account_id text not null,
  delivery_id text not null,
  n integer not null,
  started_at timestamptz not null,
  duration_ms integer not null,
  http_status integer,
  -- In a word: timeout, refused, redirect, ...
  error text,
  response_body text,
  primary key (account_id, delivery_id, n)
);

-- ---------------------------------------------------------------- tickets

-- What lets a browser in, which cannot send a key: for a short while, to one account or to some of its jobs.
create table tickets (
  id text primary key,
  account_id text not null references accounts,
  -- A ticket is never good for longer than the key that made it.
  key_id text not null references api_keys,
  -- HMAC-SHA-256 of the whole ticket under the pepper.
  secret_hmac bytea not null unique,
  -- All of the account's jobs, once; else those it names, any number of times.
  all_jobs boolean not null,
  jobs text[] not null default '{}',
  expires_at timestamptz not null,
  used_at timestamptz,
  created_at timestamptz not null default millrace_now(),
  check (all_jobs = (jobs = '{}'))
);
create index tickets_expires on tickets (expires_at);

-- ---------------------------------------------------------------- artifacts, engines

-- Promised, and to be uploaded to a signed URL; its sha256 is empty until the bytes were looked at.
alter table artifacts add column pending boolean not null default false;
create index artifacts_storage_key on artifacts (storage_key);
create index artifacts_expiring on artifacts (expires_at) where expires_at is not null and deleted_at is null;

-- Which engines of the command line the worker has found.
alter table workers add column engines text[] not null default '{}';

-- ---------------------------------------------------------------- roles

do $$
declare
  name text;
begin
  foreach name in array array['delivery_attempts', 'tickets'] loop
    execute format('alter table %I enable row level security', name);
    execute format('create policy flow on %I to millrace_flow using (true) with check (true)', name);
    execute format('create policy client on %I for select to millrace_client using (account_id = (select current_setting(''millrace.account_id'', true)))', name);
  end loop;
end $$;

grant select, insert, delete on delivery_attempts to millrace_flow;
-- A client sees its endpoints without their secrets.
grant select (id, account_id, url, events, enabled, created_at, for_jobs, description, payload, old_secret_until,
  failing_since, warned_at, disabled_reason, disabled_at, deleted_at) on endpoints to millrace_client;
grant select on deliveries, delivery_attempts to millrace_client;
grant delete on deliveries to millrace_flow;
grant select, insert, update, delete on tickets to millrace_flow;
